//! Recognizes the framing of a schema registry: a few bytes that name the schema, before the data.
//! JSON within a frame is read. Avro and Protobuf are refused, because only the registry knows
//! their schema.
//! <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>
//! <https://github.com/awslabs/aws-glue-schema-registry>, `AWSSchemaRegistryConstants.java`
//! <https://www.apicur.io/registry/docs/>, the property `apicurio.registry.id-handler`

use crate::model::{Refusal, codes};
use crate::source::refuse;

/// Data within a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The registry, and the schema's id in it.
    schema: String,
    pub(super) content: &'a [u8],
}

/// Returns the frame around `data`, if there is one: of Confluent a zero and an id of four bytes,
/// of Apicurio a zero and an id of eight, or of four as Confluent's, of Glue a version, a
/// compression and an id of 16 bytes.
pub(super) fn frame(data: &[u8]) -> Option<Frame<'_>> {
    match data {
        // No registry gives the id 0: the id has eight bytes. Those of four bytes have all ids that
        // a registry counts up to.
        [0, 0, 0, 0, 0, a, b, c, d, content @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            (id != 0).then(|| Frame {
                schema: format!("Apicurio, id {id}"),
                content,
            })
        }
        [0, 0, 0, 0, 0, ..] => None,
        [0, a, b, c, d, content @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            Some(Frame {
                schema: format!("Confluent or Apicurio, id {id}"),
                content,
            })
        }
        [3, compression @ (0 | 5), rest @ ..] => {
            let (id, content) = rest.split_first_chunk::<16>()?;
            let mut schema = format!("Glue, id {:032x}", u128::from_be_bytes(*id));
            if *compression != 0 {
                schema.push_str(", compressed with zlib");
            }
            Some(Frame { schema, content })
        }
        _ => None,
    }
}

/// Returns the JSON object within a frame.
pub(super) fn json_in(frame: &Frame<'_>) -> Result<Vec<u8>, Box<Refusal>> {
    let content = frame.content.trim_ascii();
    if content.starts_with(b"{") && content.ends_with(b"}") && str::from_utf8(content).is_ok() {
        return Ok(content.to_vec());
    }
    let message = format!(
        "the data is no JSON in the framing of a schema registry ({}): set \
         SchemaRegistryConfig with EventRecordFormat JSON on the event source mapping of Kafka, or \
         have the producer write JSON",
        frame.schema
    );
    Err(refuse(codes::SCHEMA_REGISTRY_FRAMING, &message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_recognized_and_json_in_it_is_read() {
        let confluent = |content: &[u8]| [&[0, 0, 0, 0, 17], content].concat();
        let apicurio = |content: &[u8]| [&[0, 0, 0, 0, 0, 0, 0, 1, 17], content].concat();
        let glue =
            |compression, content: &[u8]| [&[3, compression], &[7; 16][..], content].concat();
        for (data, expected) in [
            (confluent(b" {\"a\":1}\n"), Ok("{\"a\":1}")),
            (
                confluent(b"\x02\x0ac-1"),
                Err("Confluent or Apicurio, id 17"),
            ),
            (confluent(b"{\xff}"), Err("Confluent or Apicurio, id 17")),
            (confluent(b""), Err("Confluent or Apicurio, id 17")),
            (apicurio(b" {\"a\":1}\n"), Ok("{\"a\":1}")),
            (apicurio(b"\x02\x0ac-1"), Err("Apicurio, id 273")),
            (apicurio(b""), Err("Apicurio, id 273")),
            (apicurio(b"{"), Err("Apicurio, id 273")),
            (glue(0, b"{}"), Ok("{}")),
            (
                glue(0, b"\x02\x0ac-1"),
                Err("Glue, id 07070707070707070707070707070707"),
            ),
            (
                glue(5, b"\x78\x9c"),
                Err("Glue, id 07070707070707070707070707070707, compressed with zlib"),
            ),
        ] {
            let read = json_in(&frame(&data).expect("a frame"));
            match expected {
                Ok(json) => assert_eq!(read.expect("JSON"), json.as_bytes()),
                Err(schema) => {
                    let rejection = read.expect_err("no JSON").rejection;
                    assert_eq!(rejection.code.as_str(), "SCHEMA_REGISTRY_FRAMING");
                    assert!(rejection.message.contains(schema), "{}", rejection.message);
                    assert!(rejection.message.contains("SchemaRegistryConfig"));
                }
            }
        }
    }

    #[test]
    fn other_data_has_no_frame() {
        for data in [
            &b"{}"[..],
            b"",
            &[0],
            &[0; 32],
            &[0; 8],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 1],
            &[3, 0, 1],
            &[3, 1, 9],
        ] {
            assert_eq!(frame(data), None, "{data:?}");
        }
    }
}
