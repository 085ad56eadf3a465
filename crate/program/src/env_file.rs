//! Files of variables, as Node's `--env-file` reads them.

/// The variables that a text sets, in its order. Comments begin with `#`; a value in quotes may have several lines, and
/// `\n` in double quotes is a newline.
pub fn parse(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\r').collect();
    let mut rest = text.trim_ascii();
    let mut found = Vec::new();
    while let Some(first) = rest.first() {
        let line = line_of(rest);
        let equals = line.iter().position(|byte| *byte == b'=');
        let Some(equals) = equals.filter(|_| *first != b'#') else {
            rest = behind(rest, line.len());
            continue;
        };
        let name = line[..equals].trim_ascii();
        let name = name.strip_prefix(b"export ").unwrap_or(name).trim_ascii();
        let (value, used) = value_of(&rest[equals + 1..]);
        if !name.is_empty() {
            found.push((name.to_vec(), value));
        }
        rest = behind(rest, equals + 1 + used);
    }
    found
}

fn line_of(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or(text)
}

/// What comes after the line in which these many bytes end.
fn behind(text: &[u8], used: usize) -> &[u8] {
    let rest = &text[used.min(text.len())..];
    let end = line_of(rest).len();
    rest.get(end + 1..).unwrap_or(&[]).trim_ascii_start()
}

/// A value, and how many bytes it takes.
fn value_of(text: &[u8]) -> (Vec<u8>, usize) {
    let line = line_of(text);
    let blank = line.len() - line.trim_ascii_start().len();
    if let Some(quote @ (b'"' | b'\'' | b'`')) = line.get(blank) {
        let inner = &text[blank + 1..];
        if let Some(end) = inner.iter().position(|byte| byte == quote) {
            let value = &inner[..end];
            let value = if *quote == b'"' { unescaped(value) } else { value.to_vec() };
            return (value, blank + end + 2);
        }
    }
    let value = line.split(|byte| *byte == b'#').next().unwrap_or(line);
    (value.trim_ascii().to_vec(), line.len())
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_newline = byte == b'\\' && bytes.next_if_eq(&b'n').is_some();
        out.push(if is_newline { b'\n' } else { byte });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_comments_and_quotes_are_read_as_node_reads_them() {
        for (text, expected) in [
            ("A=1", vec![("A", "1")]),
            ("A=1\r\nB = 2 # two\n", vec![("A", "1"), ("B", "2")]),
            ("# A=1\n\n  export B=two words  \n", vec![("B", "two words")]),
            ("A=\nB=\"\"\nC='x", vec![("A", ""), ("B", ""), ("C", "'x")]),
            (
                "A='#1' # one\nB=\"a\\nb\"\nC='a\\nb'",
                vec![("A", "#1"), ("B", "a\nb"), ("C", "a\\nb")],
            ),
            ("A=\"one\ntwo\"\nB=`\"'`", vec![("A", "one\ntwo"), ("B", "\"'")]),
            ("no variable\nA=b=c\n=d", vec![("A", "b=c")]),
            ("", vec![]),
        ] {
            let found = parse(text.as_bytes());
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
