//! `--format`: records written after a pattern, in the letters that Kafka's users know from kcat and rpk.
//!
//! ```text
//! %t topic   %p partition   %o offset   %d timestamp (RFC 3339)   %T timestamp (ms)   %h headers (k=v,k=v)
//! %k key     %v %s value    %K bytes of the key, -1 when absent   %V %S bytes of the value, -1 when absent
//! %k{hex} %v{hex} …{base64} …{json}   %% a percent sign   \n \t \r \\ \0 \xHH
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use tidelog_client::ConsumerRecord;

use crate::envelope;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Time,
    Millis,
    Headers,
    Key(Encoding),
    KeyBytes,
    Value(Encoding),
    ValueBytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Raw,
    Hex,
    Base64,
    Json,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// A letter that stands for nothing.
    #[error("%{0} stands for nothing: use %t %p %o %d %T %h %k %K %v %V, or %% for a percent sign")]
    Letter(char),
    /// A percent sign at the end.
    #[error("the format ends with a lone %: write %% for a percent sign")]
    Lone,
    /// An escape that stands for nothing.
    #[error(r"\{0} stands for nothing: use \n \t \r \0 \\ or \xHH")]
    Escape(String),
    /// An encoding that is not known.
    #[error("{{{0}}} is not an encoding: use hex, base64 or json")]
    Encoding(String),
}

impl Template {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            match letter {
                '\\' => plain.push(escape(&mut rest)?),
                '%' => match piece(&mut rest)? {
                    Piece::Text(text) => plain.extend(text),
                    piece => {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        pieces.push(piece);
                    }
                },
                letter => plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(Vec::new()));
        Ok(Self(pieces))
    }

    /// Appends a record after the pattern.
    pub(crate) fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Topic => out.extend_from_slice(record.topic.as_str().as_bytes()),
                Piece::Partition => push(out, record.partition.get()),
                Piece::Offset => push(out, record.offset.get()),
                Piece::Time => match envelope::rfc3339(record.timestamp) {
                    Some(text) => out.extend_from_slice(text.as_bytes()),
                    None => push(out, record.timestamp.millis()),
                },
                Piece::Millis => push(out, record.timestamp.millis()),
                Piece::Headers => headers(record, out),
                Piece::Key(encoding) => encoding.write(record.key.as_deref(), out),
                Piece::KeyBytes => length(record.key.as_deref(), out),
                Piece::Value(encoding) => encoding.write(record.value.as_deref(), out),
                Piece::ValueBytes => length(record.value.as_deref(), out),
            }
        }
    }
}

/// What stands behind a percent sign.
fn piece(rest: &mut &str) -> Result<Piece, TemplateError> {
    let letter = rest.chars().next().ok_or(TemplateError::Lone)?;
    *rest = rest.get(letter.len_utf8()..).unwrap_or_default();
    Ok(match letter {
        '%' => Piece::Text(b"%".to_vec()),
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'd' => Piece::Time,
        'T' => Piece::Millis,
        'h' => Piece::Headers,
        'k' => Piece::Key(encoding(rest)?),
        'K' => Piece::KeyBytes,
        'v' | 's' => Piece::Value(encoding(rest)?),
        'V' | 'S' => Piece::ValueBytes,
        letter => return Err(TemplateError::Letter(letter)),
    })
}

/// An encoding in braces, if one follows. Other braces are text.
fn encoding(rest: &mut &str) -> Result<Encoding, TemplateError> {
    let named = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
    let Some((name, after)) = named.filter(|(name, _)| is_word(name)) else {
        return Ok(Encoding::Raw);
    };
    let encoding = match name {
        "hex" => Encoding::Hex,
        "base64" => Encoding::Base64,
        "json" => Encoding::Json,
        name => return Err(TemplateError::Encoding(name.to_owned())),
    };
    *rest = after;
    Ok(encoding)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The byte an escape stands for.
fn escape(rest: &mut &str) -> Result<u8, TemplateError> {
    let letter = rest.chars().next();
    let byte = match letter {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('x') => {
            let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            *rest = rest.get(2..).unwrap_or_default();
            byte.ok_or_else(|| TemplateError::Escape("x".to_owned()))?
        }
        other => return Err(TemplateError::Escape(other.map(String::from).unwrap_or_default())),
    };
    *rest = rest.get(1..).unwrap_or_default();
    Ok(byte)
}

fn push(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn length(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => push(out, bytes.len()),
        None => push(out, -1),
    }
}

fn headers(record: &ConsumerRecord, out: &mut Vec<u8>) {
    for (index, (key, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
}

impl Encoding {
    /// Absent is nothing, and `null` as JSON.
    fn write(self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        match (self, bytes) {
            (Self::Json, bytes) => envelope::write_bytes(bytes, out),
            (_, None) => {}
            (Self::Raw, Some(bytes)) => out.extend_from_slice(bytes),
            (Self::Hex, Some(bytes)) => out.extend(bytes.iter().flat_map(|byte| hex(*byte))),
            (Self::Base64, Some(bytes)) => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
        }
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
