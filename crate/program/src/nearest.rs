//! The word that somebody has meant who misspelt it.

/// The known word that is most like `given`; `None` where none is like it. One that was cut short is meant before one
/// that has other letters.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(given);
    let length = wanted.chars().count();
    // A third of the letters may be wrong, and two in a short word; yet not all of them.
    let most = (length / 3).max(2).min(length.saturating_sub(1));
    let likeness = |word: &'a str| {
        let word_plain = plain(word);
        let is_start = length > 1 && word_plain.starts_with(&wanted);
        let distance = strsim::osa_distance(&wanted, &word_plain);
        let is_like = is_start || distance <= most || is_within(&wanted, &word_plain);
        is_like.then_some(((!is_start, distance), word))
    };
    let found = known.into_iter().filter_map(likeness).min_by_key(|(rank, _)| *rank);
    found.map(|(_, word)| word)
}

/// Case, and the characters that join words, make no difference.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Whether the first word has some letters of the second, in their order, from its first one on: `ls` and `list`.
fn is_within(short: &str, long: &str) -> bool {
    let mut letters = long.chars();
    let is_first = short.chars().next().is_some_and(|first| long.starts_with(first));
    is_first && short.len() > 1 && short.chars().all(|c| letters.any(|other| other == c))
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
