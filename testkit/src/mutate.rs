//! Random mutations of valid JSON: of its structure and of its bytes. The result is close enough to
//! valid input to reach deep code of a parser. One sequence of random numbers always gives the same
//! mutation.

use serde_json::{Map, Value, json};

/// Texts and numbers that are difficult for parsers.
const ODD: [&str; 27] = [
    "null",
    "true",
    "-0",
    "0.1",
    "1e400",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\\\\\\"\"",
    "\"e\u{301}\u{202e}\"",
    "[]",
    "{}",
    "[[[[[[]]]]]]",
    "\"2026-02-30T25:61:61Z\"",
    "\"2026-11-20T10:15:00.123+23:59\"",
    "\"DELETE\"",
    "\"Create\"",
    "\"a@b\"",
    "\"@\"",
    "{\"a\":1,\"a\":2}",
    "\"contact\"",
    "1.7976931348623157e308",
];

/// Mutates the structure, the text or the bytes of one of the valid values.
pub fn mutated(random: &mut fastrand::Rng, valid: &[Value]) -> Vec<u8> {
    let mut value = valid[random.usize(..valid.len())].clone();
    for _ in 0..random.usize(..4) {
        structure(random, &mut value);
    }
    let mut text = value.to_string().into_bytes();
    if random.bool() {
        odd_token(random, &mut text);
    }
    if random.u32(..4) == 0 {
        bytes(random, &mut text);
    }
    text
}

/// Follows a random path, and mutates the value at its end.
fn structure(random: &mut fastrand::Rng, value: &mut Value) {
    let descends = random.u32(..4) > 0;
    match value {
        Value::Object(map) if descends && !map.is_empty() => {
            let at = random.usize(..map.len());
            structure(random, map.values_mut().nth(at).expect("in range"));
        }
        Value::Array(list) if descends && !list.is_empty() => {
            let at = random.usize(..list.len());
            structure(random, &mut list[at]);
        }
        Value::Object(map) if !map.is_empty() => keys(random, map),
        Value::Array(list) if !list.is_empty() => {
            let at = random.usize(..list.len());
            let copy = list[at].clone();
            list.insert(random.usize(..=list.len()), copy);
        }
        other => *other = odd_value(random, other),
    }
}

fn keys(random: &mut fastrand::Rng, map: &mut Map<String, Value>) {
    let at = random.usize(..map.len());
    let name = map.keys().nth(at).expect("in range").clone();
    match random.u32(..4) {
        0 => drop(map.remove(&name)),
        1 => {
            let value = map.remove(&name).expect("it is there");
            map.insert(name.to_uppercase(), value);
        }
        2 => drop(map.insert("unknown".to_owned(), json!({"deep": [1, {"deeper": null}]}))),
        _ => {
            let value = map[&name].clone();
            map.insert(name, odd_value(random, &value));
        }
    }
}

fn odd_value(random: &mut fastrand::Rng, value: &Value) -> Value {
    match random.u32(..5) {
        0 => json!([value]),
        1 => json!({"value": value}),
        2 => (0..random.usize(1..200)).fold(Value::Null, |inner, _| json!([inner])),
        3 => "x".repeat(random.usize(..70_000)).into(),
        _ => serde_json::from_str(ODD[random.usize(..ODD.len())]).unwrap_or_default(),
    }
}

/// Replaces a value of the text by an odd token. A `Value` cannot contain some of the results: a
/// duplicate key, half of a surrogate pair, a number that is too large.
fn odd_token(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
    let colons: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b':').collect();
    if colons.is_empty() {
        return;
    }
    let start = colons[random.usize(..colons.len())] + 1;
    let end = (start..text.len())
        .find(|at| matches!(text[*at], b',' | b'}' | b']'))
        .unwrap_or(text.len());
    let token = ODD[random.usize(..ODD.len())];
    if random.bool() {
        text.splice(start..end, token.bytes());
    } else {
        // Duplicates the key.
        let comma = text[..start].iter().rposition(|byte| *byte == b',');
        let key = match comma {
            Some(comma) => comma + 1,
            None => start,
        };
        let twice: Vec<u8> = text[key..start]
            .iter()
            .copied()
            .chain(token.bytes())
            .chain([b','])
            .collect();
        text.splice(key..key, twice);
    }
}

/// Damages bytes: cuts the end off, flips a bit, removes some, or inserts some.
pub fn bytes(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
    let at = random.usize(..text.len());
    match random.u32(..4) {
        0 => text.truncate(at),
        1 => text[at] ^= 1 << random.u32(..8),
        2 => drop(text.drain(at..(at + random.usize(1..20)).min(text.len()))),
        _ => drop(text.splice(at..at, [0xef, 0xbb, 0xbf])),
    }
}
