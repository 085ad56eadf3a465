//! A table for people: it fits a terminal, and is whole on a pipe.

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// Numbers stand at its right edge.
    pub right: bool,
    /// Where the terminal is too narrow, it may become as narrow as this; of several, the one that comes first does.
    pub shrinks: Option<(u8, usize)>,
}

/// Between two columns.
const GAP: usize = 2;

/// The lines of a table, with its headings, for so many columns of a terminal.
pub fn lines(columns: &[Column], rows: &[Vec<String>], terminal: Option<usize>) -> Vec<String> {
    let headings = columns.iter().map(|column| column.heading.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&headings).chain(rows).collect();
    let cell = |row: &[String], at: usize| row.get(at).map_or(0, |cell| width_of(cell));
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|at| all.iter().map(|row| cell(row, at)).max().unwrap_or(0))
        .collect();
    if let Some(terminal) = terminal {
        shrink(columns, &mut widths, terminal);
    }
    let line = |row: &&Vec<String>| {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = cut(cell, *width);
            let room = " ".repeat(width - width_of(&cell));
            line += &if column.right { room + &cell } else { cell + &room };
        }
        let line = line.trim_end();
        terminal.map_or_else(|| line.to_owned(), |terminal| cut(line, terminal))
    };
    all.iter().map(line).collect()
}

/// Makes columns narrower until all fit, as far as they may be.
fn shrink(columns: &[Column], widths: &mut [usize], terminal: usize) {
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut order: Vec<(u8, usize, usize)> = columns
        .iter()
        .enumerate()
        .filter_map(|(at, column)| column.shrinks.map(|(rank, least)| (rank, at, least)))
        .collect();
    order.sort_unstable();
    for (_, at, least) in order {
        let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(terminal);
        if let Some(width) = widths.get_mut(at) {
            *width = (*width).min((*width).saturating_sub(over).max(least));
        }
    }
}

/// How many columns of a terminal a text takes.
fn width_of(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Wide are the scripts of East Asia and the pictures: wcwidth(3) of the C library knows no more without a locale.
fn columns_of(letter: char) -> usize {
    match u32::from(letter) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A text in so many columns: its end is left out where it does not fit.
fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(1);
    for letter in text.chars() {
        let columns = columns_of(letter);
        if columns > left {
            break;
        }
        left -= columns;
        cut.push(letter);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { heading: "NAME", right: false, shrinks: Some((1, 4)) },
        Column { heading: "PID", right: true, shrinks: None },
        Column { heading: "PROGRAM", right: false, shrinks: Some((0, 7)) },
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![row(["clock", "7", "node /srv/clock.mjs"]), row(["時計", "4711", "x"])]
    }

    #[test]
    fn a_table_is_whole_where_there_is_no_terminal() {
        let expected =
            ["NAME    PID  PROGRAM", "clock     7  node /srv/clock.mjs", "時計   4711  x"];
        assert_eq!(lines(COLUMNS, &rows(), None), expected);
        assert_eq!(lines(COLUMNS, &rows(), Some(80)), expected);
    }

    #[test]
    fn it_fits_a_terminal_as_far_as_its_columns_may_shrink() {
        assert_eq!(
            lines(COLUMNS, &rows(), Some(24)),
            ["NAME    PID  PROGRAM", "clock     7  node /srv/…", "時計   4711  x",]
        );
        assert_eq!(
            lines(COLUMNS, &rows(), Some(19)),
            ["NAME   PID  PROGRAM", "clo…     7  node /…", "時計  4711  x",]
        );
        for width in 0..40 {
            assert!(
                lines(COLUMNS, &rows(), Some(width)).iter().all(|line| width_of(line) <= width)
            );
        }
    }
}
