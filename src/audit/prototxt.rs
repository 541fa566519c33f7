//! The text form of protocol buffers, as Caffe's network and solver files have it, with line numbers.
//!
//! Uses nothing of this crate; used by `audit::network`. It reads the format itself, not a schema:
//! messages in braces, fields with a string, a number or a word, fields that repeat, comments.

/// Messages inside messages; Caffe's files have three levels.
const DEPTH_MAX: usize = 16;

/// Fields of one file; the longest published network has about 350.
const FIELDS_MAX: usize = 100_000;

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text in quotes.
    Text(String),
    /// A number or a word (`MAX`, `true`), as it is written.
    Word(String),
    /// Fields in braces.
    Message(Message),
}

/// One `name: value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Value,
    /// The line, from 1, that the name is on.
    pub line: u32,
}

/// Fields in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// The fields.
    pub fields: Vec<Field>,
}

/// Where and why a text is not of the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub problem: String,
}

impl Message {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The first place where it is not of the format.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let mut reader = Reader { text: text.as_bytes(), at: 0, line: 1, fields: 0 };
        reader.message(0)
    }

    /// All fields of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    /// The last field of that name, which is the one that counts where a field does not repeat.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().rfind(|field| field.name == name)
    }
}

impl Field {
    /// The message that it holds.
    pub fn message(&self) -> Option<&Message> {
        match &self.value {
            Value::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Its text, in quotes or not; empty for a message.
    pub fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) | Value::Word(text) => text,
            Value::Message(_) => "",
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    fields: usize,
}

impl Reader<'_> {
    fn message(&mut self, depth: usize) -> Result<Message, Malformed> {
        if depth > DEPTH_MAX {
            return self.fail(format!("messages are nested more than {DEPTH_MAX} deep"));
        }
        let mut message = Message::default();
        loop {
            self.blank();
            match self.peek() {
                None if depth == 0 => return Ok(message),
                None => return self.fail("the file ends inside braces"),
                Some(b'}') if depth > 0 => {
                    self.at += 1;
                    return Ok(message);
                }
                Some(b';' | b',') if !message.fields.is_empty() => self.at += 1,
                Some(byte) if is_word(byte) => self.field(&mut message, depth)?,
                Some(byte) => {
                    return self.fail(format!("a field's name was expected, not `{}`", shown(byte)));
                }
            }
        }
    }

    fn field(&mut self, message: &mut Message, depth: usize) -> Result<(), Malformed> {
        let line = self.line;
        let name = self.word();
        self.blank();
        let colon = self.peek() == Some(b':');
        if colon {
            self.at += 1;
            self.blank();
        }
        if colon && self.peek() == Some(b'[') {
            self.at += 1;
            loop {
                self.blank();
                match self.peek() {
                    Some(b']') => break,
                    Some(b',') => self.at += 1,
                    _ => {
                        let value = self.value(depth, colon)?;
                        self.push(message, Field { name: name.clone(), value, line })?;
                    }
                }
            }
            self.at += 1;
            return Ok(());
        }
        let value = self.value(depth, colon)?;
        self.push(message, Field { name, value, line })
    }

    fn push(&mut self, message: &mut Message, field: Field) -> Result<(), Malformed> {
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return self.fail(format!("it has more than {FIELDS_MAX} fields"));
        }
        message.fields.push(field);
        Ok(())
    }

    fn value(&mut self, depth: usize, colon: bool) -> Result<Value, Malformed> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.message(depth + 1).map(Value::Message)
            }
            _ if !colon => self.fail("a colon or an opening brace was expected after a field's name"),
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote).map(Value::Text),
            Some(byte) if is_word(byte) => Ok(Value::Word(self.word())),
            Some(byte) => self.fail(format!("a value was expected, not `{}`", shown(byte))),
            None => self.fail("the file ends where a value was expected"),
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<String, Malformed> {
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            let Some(byte) = self.peek() else { return self.fail("the file ends inside quotes") };
            self.at += 1;
            match byte {
                b'\n' => return self.fail("the line ends inside quotes"),
                b'\\' => {
                    let escaped = self.peek();
                    self.at += 1;
                    bytes.push(match escaped {
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b'r') => b'\r',
                        Some(byte @ (b'\\' | b'"' | b'\'')) => byte,
                        _ => return self.fail("an escape that Caffe's files do not use"),
                    });
                }
                byte if byte == quote => break,
                byte => bytes.push(byte),
            }
        }
        // The file is UTF-8 and is only cut at ASCII bytes.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    /// Skips blanks and comments.
    fn blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => self.line += 1,
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                    continue;
                }
                byte if byte.is_ascii_whitespace() => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, Malformed> {
        Err(Malformed { line: self.line, problem: problem.into() })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte)
}

fn shown(byte: u8) -> String {
    byte.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_have_values_and_lines() {
        let text = "name: \"net\" # a comment } {\nlayers {\n  layer { kind: MAX\n rate: 1. rate: -2e-3 }\n}\n\
                    list: [1, 2] inner: { a: 'b\\'\\n' };\n";
        let message = Message::read(text).unwrap();
        assert_eq!(message.get("name").unwrap().text(), "net");
        let layer = message.get("layers").unwrap().message().unwrap().get("layer").unwrap();
        assert_eq!(layer.line, 3);
        let rates: Vec<(&str, u32)> =
            layer.message().unwrap().all("rate").map(|rate| (rate.text(), rate.line)).collect();
        assert_eq!(rates, [("1.", 4), ("-2e-3", 4)]);
        assert_eq!(message.all("list").map(Field::text).collect::<Vec<_>>(), ["1", "2"]);
        let inner = message.get("inner").unwrap();
        assert_eq!((inner.line, inner.message().unwrap().get("a").unwrap().text()), (6, "b'\n"));
        assert_eq!(Message::read("").unwrap(), Message::default());
    }

    #[test]
    fn refusals_name_the_line() {
        for (text, line, word) in [
            ("a: 1\n}", 2, "name was expected"),
            ("a {\nb: 1\n", 3, "ends inside braces"),
            ("a\n1", 2, "colon"),
            ("a: \"b\nc\"", 1, "inside quotes"),
            ("a: \"b", 1, "inside quotes"),
            ("a:\n", 2, "value was expected"),
            ("a: \"\\x41\"", 1, "escape"),
            ("a: [1, ", 1, "value was expected"),
            ("\u{e9}: 1", 1, "name was expected"),
        ] {
            let error = Message::read(text).unwrap_err();
            assert!(error.line == line && error.problem.contains(word), "{text:?}: {error:?}");
        }
        let deep = "a {".repeat(1000);
        assert!(Message::read(&deep).unwrap_err().problem.contains("nested"));
        let long = "a: 1\n".repeat(FIELDS_MAX + 1);
        assert!(Message::read(&long).unwrap_err().problem.contains("fields"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c:{}\\[\\]\"'#\\\\ \n,;1.]{0,60}") {
            let _ = Message::read(&text);
        }
    }
}
