//! Random changes to JSON that is sound: of its structure, and of its bytes. What comes out is
//! close enough to the real thing to go deep into a parser, and far enough to surprise it. The same
//! random numbers give the same change.

use serde_json::{Map, Value, json};

/// Texts and numbers that parsers stumble over.
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

/// One of the sound values after some changes of its structure, its text or its bytes.
pub fn mutated(random: &mut fastrand::Rng, sound: &[Value]) -> Vec<u8> {
    let mut value = sound[random.usize(..sound.len())].clone();
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

/// Goes down a random path and changes what is there.
fn structure(random: &mut fastrand::Rng, value: &mut Value) {
    let goes_on = random.u32(..4) > 0;
    match value {
        Value::Object(map) if goes_on && !map.is_empty() => {
            let at = random.usize(..map.len());
            structure(random, map.values_mut().nth(at).expect("in range"));
        }
        Value::Array(list) if goes_on && !list.is_empty() => {
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

/// Puts an odd token in the place of a value, as text: a key that stands twice, half of a surrogate
/// pair, a number that is too large are nothing that a `Value` could hold.
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
        // The same key once more.
        let key = text[..start]
            .iter()
            .rposition(|byte| *byte == b',')
            .map_or(start, |comma| comma + 1);
        let twice: Vec<u8> = text[key..start]
            .iter()
            .copied()
            .chain(token.bytes())
            .chain([b','])
            .collect();
        text.splice(key..key, twice);
    }
}

fn bytes(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
    let at = random.usize(..text.len());
    match random.u32(..4) {
        0 => text.truncate(at),
        1 => text[at] ^= 1 << random.u32(..8),
        2 => drop(text.drain(at..(at + random.usize(1..20)).min(text.len()))),
        _ => drop(text.splice(at..at, [0xef, 0xbb, 0xbf])),
    }
}
