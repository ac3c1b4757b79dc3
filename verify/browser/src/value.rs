//! JavaScript values as they come over WebDriver BiDi, made plain JSON.

use serde_json::{Map, Value};

/// A `script.RemoteValue` as JSON. What JSON does not know is `null`.
pub fn plain(remote: &Value) -> Value {
    let value = remote.get("value");
    let items = || value.and_then(Value::as_array).into_iter().flatten();
    match remote.get("type").and_then(Value::as_str).unwrap_or_default() {
        // Numbers without JSON, such as NaN, come as text.
        "number" => value.filter(|value| value.is_number()).map_or(Value::Null, whole),
        "string" | "boolean" => value.cloned().unwrap_or_default(),
        "array" | "set" => items().map(plain).collect(),
        "object" | "map" => Value::Object(items().filter_map(entry).collect::<Map<_, _>>()),
        _ => Value::Null,
    }
}

fn entry(pair: &Value) -> Option<(String, Value)> {
    let [name, value] = pair.as_array()?.as_slice() else { return None };
    Some((name.as_str()?.to_owned(), plain(value)))
}

/// `3.0` is `3` in JavaScript, and is compared with `3` in tests.
fn whole(number: &Value) -> Value {
    number.as_i64().map_or_else(|| number.clone(), Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plain;

    #[test]
    fn remote_values_become_json() {
        let number = |n: i32| json!({"type": "number", "value": n});
        let remote = json!({"type": "array", "value": [
            number(1), {"type": "string", "value": "two"}, {"type": "undefined"}, {"type": "number", "value": "NaN"},
            {"type": "object", "value": [["a", {"type": "boolean", "value": true}], ["b", {"type": "array", "value": []}]]},
            {"type": "promise", "handle": "x"}]});
        assert_eq!(plain(&remote), json!([1, "two", null, null, {"a": true, "b": []}, null]));
    }
}
