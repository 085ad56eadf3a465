//! The word that somebody has meant who misspelt it.

/// How one word is like another, the most likely first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// It was cut short.
    Start,
    /// So many letters are missing, too many, others, or have changed places with their neighbours.
    Misspelt(usize),
    /// Its beginning or some of its letters were left out: `timeout`, `ls`.
    Part,
}

/// The known word that is most like `given`; `None` where none is like it.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(given);
    let alike = known.into_iter().filter_map(|word| Some((likeness(&wanted, &plain(word))?, word)));
    alike.min_by_key(|(likeness, _)| *likeness).map(|(_, word)| word)
}

fn likeness(wanted: &str, word: &str) -> Option<Likeness> {
    let length = wanted.chars().count();
    if length < 2 {
        return None;
    }
    // A third of the letters may be wrong, and two in a short word; yet not all of them.
    let most = (length / 3).max(2).min(length - 1);
    let distance = strsim::osa_distance(wanted, word);
    if word.starts_with(wanted) {
        Some(Likeness::Start)
    } else if distance <= most {
        Some(Likeness::Misspelt(distance))
    } else if is_within(wanted, word) || length > 2 && word.contains(wanted) {
        Some(Likeness::Part)
    } else {
        None
    }
}

/// Case, and the characters that join words, make no difference.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Whether the first word has some letters of the second, in their order, from its first one on: `ls` and `list`.
fn is_within(short: &str, long: &str) -> bool {
    let mut letters = long.chars();
    let is_first = short.chars().next().is_some_and(|first| long.starts_with(first));
    is_first && short.chars().all(|c| letters.any(|other| other == c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::VERBS;

    #[test]
    fn a_misspelt_verb_is_recognised() {
        let of = |given| nearest(given, VERBS.iter().map(|verb| verb.name));
        for (given, meant) in [
            ("stat", "status"),
            ("statsu", "status"),
            ("sttaus", "status"),
            ("STATUS", "status"),
            ("stats", "status"),
            ("sotp", "stop"),
            ("stp", "stop"),
            ("tsop", "stop"),
            ("stopp", "stop"),
            ("strat", "start"),
            ("star", "start"),
            ("satrt", "start"),
            ("rest", "restart"),
            ("re-start", "restart"),
            ("retsart", "restart"),
            ("relaod", "reload"),
            ("realod", "reload"),
            ("ls", "list"),
            ("lst", "list"),
            ("lits", "list"),
            ("log", "logs"),
            ("lgos", "logs"),
            ("kil", "kill"),
            ("klil", "kill"),
            ("rnu", "run"),
            ("nru", "run"),
            ("ensrue", "ensure"),
            ("ensur", "ensure"),
            ("completion", "completions"),
            ("complet", "completions"),
        ] {
            assert_eq!(of(given), Some(meant), "{given}");
        }
        for given in ["", "x", "s", "zz", "frobnicate", "--", "sample", "почта"] {
            assert_eq!(of(given), None, "{given}");
        }
    }
}
