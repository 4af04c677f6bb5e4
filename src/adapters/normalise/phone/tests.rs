use super::*;

/// The table that `make_examples.py` writes and describes.
const EXAMPLES: &str = include_str!("examples.tsv");

/// Numbers that are sent as they are: Argentina's mobile prefix within the number, and Canada's
/// short number.
const UNKNOWN: [&str; 4] = ["011 15-2345-6789", "310-1234", "+1 310-1234", "+13101234"];

#[test]
fn the_example_numbers_of_libphonenumber_get_their_form() {
    let mut count = 0;
    for line in EXAMPLES.lines().filter(|line| !line.starts_with('#')) {
        let [region, national, international, expected] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        for text in [national, international, expected] {
            let wanted = if UNKNOWN.contains(&text) {
                None
            } else {
                Some(expected)
            };
            let found = e164(text, region);
            assert_eq!(found.as_deref(), wanted, "{text} of {region}");
            if text.starts_with('+') {
                assert_eq!(e164(text, ""), found, "{text} has a country code");
            }
        }
        count += 1;
    }
    assert!(count > 700, "{count}");
}
