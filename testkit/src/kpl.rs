//! Encoder of KPL aggregates, without a Protobuf library: the function decodes with one.
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use md5::{Digest, Md5};

/// The first bytes of an aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Builds an aggregate of records, each with a partition key and data.
pub fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
    let records: Vec<_> = records
        .iter()
        .map(|(key, data)| (*key, None, *data))
        .collect();
    aggregate_with_hash_keys(&records)
}

/// Builds an aggregate of records, each with a partition key, an explicit hash key and data.
pub fn aggregate_with_hash_keys(records: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    let keys = table(&mut content, 1, records.iter().map(|(key, ..)| *key));
    let hash_keys = table(
        &mut content,
        2,
        records.iter().filter_map(|(_, key, _)| *key),
    );
    for (key, hash_key, data) in records {
        let mut record = vec![1 << 3];
        varint(&mut record, index(&keys, key));
        if let Some(hash_key) = hash_key {
            record.push(2 << 3);
            varint(&mut record, index(&hash_keys, hash_key));
        }
        field(&mut record, 3, data);
        field(&mut content, 3, &record);
    }
    framed(&content)
}

/// Appends each distinct key as a field, and returns them.
fn table<'a>(
    content: &mut Vec<u8>,
    number: u8,
    keys: impl Iterator<Item = &'a str>,
) -> Vec<&'a str> {
    let mut table = Vec::new();
    for key in keys {
        if !table.contains(&key) {
            table.push(key);
            field(content, number, key.as_bytes());
        }
    }
    table
}

/// Returns the index of a key in its table.
fn index(table: &[&str], key: &str) -> usize {
    let index = table.iter().position(|known| *known == key);
    index.expect("every key is listed")
}

/// Adds the magic number and the checksum to the content of an aggregate.
pub fn framed(content: &[u8]) -> Vec<u8> {
    [&MAGIC, content, &Md5::digest(content)[..]].concat()
}

/// Appends a field of bytes.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, bytes.len());
    message.extend(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        message.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    message.push(u8::try_from(value).expect("seven bits"));
}
