//! Encoder of KPL aggregates, without a Protobuf library: the function decodes with one.
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use md5::{Digest, Md5};

/// The first bytes of an aggregate.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Builds an aggregate of records, each with a partition key and data.
pub fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut keys: Vec<&str> = Vec::new();
    let mut content = Vec::new();
    for (key, _) in records {
        if !keys.contains(key) {
            keys.push(key);
            field(&mut content, 1, key.as_bytes());
        }
    }
    for (key, data) in records {
        let mut record = vec![1 << 3];
        let index = keys.iter().position(|known| known == key);
        varint(&mut record, index.expect("every key is listed"));
        field(&mut record, 3, data);
        field(&mut content, 3, &record);
    }
    framed(&content)
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
