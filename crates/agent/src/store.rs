//! A little local state of each plugin. It lives as long as the agent and never leaves this machine.

use std::collections::BTreeMap;

/// Keys of one plugin.
pub const KEYS_MAX: usize = 64;
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Bytes of all keys and values of one plugin.
pub const BYTES_MAX: usize = 256 * 1024;

/// Why something was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The key.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    /// No room.
    #[error("a plugin keeps at most {KEYS_MAX} values and {BYTES_MAX} bytes")]
    Full,
}

/// One plugin's values.
#[derive(Debug, Default)]
pub struct Store {
    values: BTreeMap<String, String>,
    bytes: usize,
}

impl Store {
    /// A value that was kept.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Keeps a value, or forgets it.
    ///
    /// # Errors
    /// [`StoreError`]: a bad key, no room. Then nothing changes.
    pub fn set(&mut self, key: &str, value: Option<String>) -> Result<(), StoreError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(StoreError::Key);
        }
        let old = self.values.get(key).map_or(0, |old| key.len() + old.len());
        let new = value.as_ref().map_or(0, |new| key.len() + new.len());
        let count = self.values.len() + usize::from(new > 0 && old == 0);
        let bytes = self.bytes - old + new;
        if new > 0 && (count > KEYS_MAX || bytes > BYTES_MAX) {
            return Err(StoreError::Full);
        }
        self.bytes = bytes;
        match value {
            Some(value) => self.values.insert(key.to_owned(), value),
            None => self.values.remove(key),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_replaced_and_forgotten_within_bounds() {
        let mut store = Store::default();
        assert_eq!(store.set("a", Some("1".into())), Ok(()));
        assert_eq!(store.set("a", Some("22".into())), Ok(()));
        assert_eq!((store.get("a"), store.bytes), (Some("22"), 3));
        assert_eq!(store.set("b", Some("x".repeat(BYTES_MAX))), Err(StoreError::Full));
        assert_eq!(store.set("a", None), Ok(()));
        assert_eq!((store.get("a"), store.bytes), (None, 0));
        assert_eq!(store.set("", None), Err(StoreError::Key));
        (0..KEYS_MAX).for_each(|i| store.set(&i.to_string(), Some(String::new())).unwrap());
        assert_eq!(store.set("one more", Some(String::new())), Err(StoreError::Full));
        assert_eq!(store.set("1", Some("again".into())), Ok(()));
    }
}
