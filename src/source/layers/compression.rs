//! Decompresses gzip and zstd, which their magic numbers name, up to a bound. The output grows as
//! it is read, so that a few bytes that claim a large content allocate little.
//! <https://www.rfc-editor.org/rfc/rfc1952>, <https://www.rfc-editor.org/rfc/rfc8878>

use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::DecompressionBudget;
use crate::model::{Refusal, codes};
use crate::source::refuse;

/// Bound of the decompressed data, in bytes. It is also the bound of the window that a zstd frame
/// may claim, which the decoder allocates.
const MOST_BYTES: u64 = 10 * 1024 * 1024;

/// A compression algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Gzip,
    Zstd,
}

/// Returns the algorithm that the first bytes name.
pub(super) fn algorithm(data: &[u8]) -> Option<Algorithm> {
    match data {
        [0x1f, 0x8b, 0x08, ..] => Some(Algorithm::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Algorithm::Zstd),
        _ if is_skippable(data) => Some(Algorithm::Zstd),
        _ => None,
    }
}

/// Returns whether a frame begins that a decoder of zstd skips: one that pads, or holds metadata.
fn is_skippable(data: &[u8]) -> bool {
    matches!(data, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Decompresses `data`, and takes its decompressed bytes from the budget, those of data that is
/// refused too.
pub(super) fn decompress(
    algorithm: Algorithm,
    data: &[u8],
    budget: &mut DecompressionBudget,
) -> Result<Vec<u8>, Box<Refusal>> {
    let mut output = Vec::new();
    let result = match algorithm {
        Algorithm::Gzip => read_members(data, &mut output),
        Algorithm::Zstd => read_frames(data, &mut output),
    };
    budget.take(output.len());
    if output.len() as u64 > MOST_BYTES {
        let message = format!("the decompressed data has more than {MOST_BYTES} bytes");
        return Err(refuse(codes::TOO_LARGE, &message));
    }
    if result.is_ok() {
        return Ok(output);
    }
    let name = match algorithm {
        Algorithm::Gzip => "gzip",
        Algorithm::Zstd => "zstd",
    };
    let message = format!("the data begins as {name} and cannot be decompressed");
    Err(refuse(codes::INVALID_COMPRESSION, &message))
}

/// Appends the bytes of `source`, up to one more than the bound.
fn read(source: impl Read, output: &mut Vec<u8>) -> io::Result<()> {
    let left = (MOST_BYTES + 1).saturating_sub(output.len() as u64);
    source.take(left).read_to_end(output).map(drop)
}

/// Appends the content of each member. Zeros behind the last one pad it, and are ignored as `gzip
/// -d` ignores them.
fn read_members(mut data: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    while data.iter().any(|byte| *byte != 0) && output.len() as u64 <= MOST_BYTES {
        read(GzDecoder::new(&mut data), output)?;
    }
    Ok(())
}

/// Appends the content of each frame.
fn read_frames(mut data: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    while !data.is_empty() && output.len() as u64 <= MOST_BYTES {
        if is_skippable(data) {
            data = behind_skippable(data).ok_or(io::ErrorKind::UnexpectedEof)?;
            continue;
        }
        let frame = StreamingDecoder::new_with_max_window_size(&mut data, MOST_BYTES);
        let mut frame = frame.map_err(io::Error::other)?;
        read(&mut frame, output)?;
        let decoder = frame.into_frame_decoder();
        let stated = decoder.get_checksum_from_data();
        if decoder.is_finished() && stated.is_some() && stated != decoder.get_calculated_checksum()
        {
            return Err(io::Error::other("wrong checksum"));
        }
    }
    Ok(())
}

/// Returns the data behind a skippable frame: its magic number, its length in four bytes, and its
/// content.
fn behind_skippable(data: &[u8]) -> Option<&[u8]> {
    let (length, rest) = data.get(4..)?.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    rest.get(length..)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    /// Returns the data without its compression, or the code of the refusal.
    fn inner(data: &[u8]) -> Result<Vec<u8>, String> {
        let algorithm = algorithm(data).ok_or("no compression")?;
        decompress(algorithm, data, &mut DecompressionBudget::default())
            .map_err(|refusal| refusal.rejection.code.to_string())
    }

    #[test]
    fn data_beyond_the_bound_is_refused_in_either_algorithm() {
        let most = usize::try_from(MOST_BYTES).expect("fits");
        let mut data = vec![b' '; most];
        for compress in [gzip, zstd] {
            assert_eq!(inner(&compress(&data)).as_ref(), Ok(&data));
        }
        data.push(b' ');
        for compress in [gzip, zstd] {
            assert_eq!(inner(&compress(&data)), Err("TOO_LARGE".to_owned()));
        }
        let halves = [zstd(&data[..most / 2]), zstd(&data), zstd(b"")].concat();
        assert_eq!(
            inner(&halves),
            Err("TOO_LARGE".to_owned()),
            "all frames count"
        );
    }

    #[test]
    fn a_frame_that_claims_a_large_window_is_refused() {
        // A window of 2^(10 + 21) bytes, and an empty last block.
        let claim = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert_eq!(inner(&claim), Err("INVALID_COMPRESSION".to_owned()));
    }

    #[test]
    fn several_members_and_frames_are_read_and_rubbish_after_them_is_refused() {
        for compress in [gzip, zstd] {
            let two = [compress(b"{\"a\""), compress(b":1}")].concat();
            assert_eq!(inner(&two), Ok(b"{\"a\":1}".to_vec()));
            let rubbish = [compress(b"{}"), b"rubbish".to_vec()].concat();
            assert_eq!(inner(&rubbish), Err("INVALID_COMPRESSION".to_owned()));
        }
        assert_eq!(algorithm(b"{}"), None);
        assert_eq!(algorithm(&[0x1f, 0x8b]), None);
    }

    #[test]
    fn padding_is_skipped_and_a_truncated_one_is_refused() {
        let skippable = |magic: u8, length: u8| {
            let content = vec![7; usize::from(length)];
            [&[magic, 0x2a, 0x4d, 0x18, length, 0, 0, 0], &content[..]].concat()
        };
        let [first, second] = [&b"{\"a\""[..], b":1}"].map(zstd);
        let whole = Ok(b"{\"a\":1}".to_vec());
        for magic in [0x50, 0x57, 0x5f] {
            for length in [0, 1, 200] {
                let padding = skippable(magic, length);
                for frames in [
                    [&padding[..], &first, &second],
                    [&first, &padding, &second],
                    [&first, &second, &padding],
                ] {
                    assert_eq!(inner(&frames.concat()), whole, "{magic:x}, {length}");
                }
                assert_eq!(inner(&padding), Ok(Vec::new()));
                let cut = &padding[..padding.len() - 1];
                assert_eq!(
                    inner(&[&first, cut].concat()),
                    Err("INVALID_COMPRESSION".to_owned())
                );
            }
        }
        let other = [&first, &[0x60, 0x2a, 0x4d, 0x18, 0, 0, 0, 0][..]].concat();
        assert_eq!(inner(&other), Err("INVALID_COMPRESSION".to_owned()));
        assert_eq!(
            inner(&[&first, &[0; 8][..]].concat()),
            Err("INVALID_COMPRESSION".to_owned()),
            "zeros pad gzip only"
        );
    }

    #[test]
    fn zeros_behind_gzip_are_ignored_and_zeros_between_members_are_refused() {
        let [first, second] = [&b"{\"a\""[..], b":1}"].map(gzip);
        for count in [0, 1, 7, 512] {
            let zeros = vec![0; count];
            let padded = [&first[..], &second, &zeros].concat();
            assert_eq!(inner(&padded), Ok(b"{\"a\":1}".to_vec()), "{count}");
            let rubbish = [&padded[..], &[1]].concat();
            assert_eq!(inner(&rubbish), Err("INVALID_COMPRESSION".to_owned()));
            if count > 0 {
                let between = [&first[..], &zeros, &second].concat();
                assert_eq!(inner(&between), Err("INVALID_COMPRESSION".to_owned()));
            }
        }
    }

    proptest! {
        #[test]
        fn any_data_is_restored_and_a_truncated_one_is_refused(
            data in proptest::collection::vec(any::<u8>(), 0..2_000),
            part in 0.0..1.0,
        ) {
            for compress in [gzip, zstd] {
                let compressed = compress(&data);
                prop_assert_eq!(inner(&compressed), Ok(data.clone()));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    clippy::cast_sign_loss,
                    reason = "a part of a length"
                )]
                let end = (compressed.len() as f64 * part) as usize;
                if algorithm(&compressed[..end]).is_some() {
                    let refused = Err("INVALID_COMPRESSION".to_owned());
                    prop_assert_eq!(inner(&compressed[..end]), refused);
                }
            }
        }

        #[test]
        fn arbitrary_bytes_after_a_magic_number_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            for magic in [&[0x1f, 0x8b, 0x08][..], &[0x28, 0xb5, 0x2f, 0xfd]] {
                let _ = inner(&[magic, &bytes].concat());
            }
        }
    }
}
