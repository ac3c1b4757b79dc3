//! TOML with strict fields, and keys in hexadecimal.

use std::fmt;
use std::path::Path;

use data_encoding::HEXLOWER;
use ringfort_crypto::secret::Secret;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::disk::Access;
use crate::error::{FileError, FileErrorKind};

/// The format of all files written here.
pub const FORMAT: u32 = 1;

/// Public bytes, written as lower-case hexadecimal digits: one value, one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0; N];
        deserializer.deserialize_str(Digits(&mut bytes))?;
        Ok(Hex(bytes))
    }
}

/// Secret bytes. The digits go straight into wiped memory.
pub struct SecretHex<const N: usize>(pub Secret<N>);

impl<'de, const N: usize> Deserialize<'de> for SecretHex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = Zeroizing::new([0; N]);
        deserializer.deserialize_str(Digits(&mut bytes))?;
        Ok(SecretHex(Secret::new(*bytes)))
    }
}

/// The digits of a secret, for writing.
pub fn secret_digits<const N: usize>(secret: &Secret<N>) -> Zeroizing<String> {
    Zeroizing::new(HEXLOWER.encode(secret.expose()))
}

struct Digits<'a, const N: usize>(&'a mut [u8; N]);

impl<const N: usize> Visitor<'_> for Digits<'_, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits", 2 * N)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let wrong = || E::custom(format_args!("expected {} hexadecimal digits in lower case", 2 * N));
        if text.len() != 2 * N {
            return Err(wrong());
        }
        HEXLOWER.decode_mut(text.as_bytes(), self.0).map(drop).map_err(|_| wrong())
    }
}

/// Reads digits given by a person: either case, spaces around allowed.
pub fn parse_digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let deserializer = serde::de::value::StrDeserializer::<serde::de::value::Error>::new;
    let text = text.trim().to_ascii_lowercase();
    Hex::deserialize(deserializer(&text)).ok().map(|Hex(bytes)| bytes)
}

/// A secret text that wipes itself, such as a password.
pub struct SecretText(pub Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| SecretText(Zeroizing::new(text)))
    }
}

/// A value that is written as text and read by its own rule.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// Parses a file that starts with `format = 1`. A newer format is told apart from a malformed file.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str, what: &str, access: Access) -> Result<T, FileError> {
    parse_up_to(FORMAT, path, text, what, access)
}

/// As [`parse`], where the formats from 1 to `newest` are known.
pub fn parse_up_to<T: DeserializeOwned>(
    newest: u32,
    path: &Path,
    text: &str,
    what: &str,
    access: Access,
) -> Result<T, FileError> {
    let version: AnyFormat = parse_free(path, text, what, access)?;
    if !(FORMAT..=newest).contains(&version.format) {
        let known = if newest == FORMAT { format!("{FORMAT} only") } else { format!("{FORMAT} to {newest}") };
        let found = format!("{what} has format {}, and this version knows format {known}", version.format);
        let action = "use the version of ringfort that wrote it, or get the file again";
        return Err(FileError::new(FileErrorKind::Version, path, found, action));
    }
    parse_free(path, text, what, access)
}

/// Parses a file that people write by hand, with no format number.
pub fn parse_free<T: DeserializeOwned>(path: &Path, text: &str, what: &str, access: Access) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(String::new(), |b| format!("line {}", b.matches('\n').count() + 1));
        // The message may quote the file, so it is kept out where the file is secret.
        let detail = match access {
            Access::Public => format!("{line}: {}", error.message()),
            Access::Secret => line,
        };
        let detail = detail.trim_start_matches(": ").replace('\n', ", ");
        let sentence = format!("this is not {what} as it should be ({detail})");
        FileError::malformed(path, sentence, "correct it, or get the file again")
    })
}

/// Writes a document under its explaining header.
pub fn render<T: Serialize>(path: &Path, header: &str, document: &T) -> Result<String, FileError> {
    let body = toml::to_string(document).map_err(|error| {
        FileError::malformed(path, format!("this cannot be written as TOML ({error})"), "correct the values given")
    })?;
    Ok(format!("{header}{body}"))
}
