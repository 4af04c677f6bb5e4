//! The settings that the documentation of field ownership shows.

use contact_sync::adapters::DESTINATIONS;
use contact_sync::settings::{Layer, Preset, load};

/// Pages with settings of the mapping, and the number of their TOML blocks.
const PAGES: [(&str, usize); 2] = [
    (include_str!("../../../docs/deploy/field-ownership.md"), 12),
    (include_str!("../../../docs/reference/contract.md"), 1),
];

/// Returns the TOML blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match &mut open {
            None if line == "```toml" => open = Some(String::new()),
            None => {}
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

#[test]
fn each_toml_block_of_the_page_is_a_good_document() {
    for (page, count) in PAGES {
        let blocks = blocks(page);
        assert_eq!(blocks.len(), count, "{blocks:?}");
        for block in blocks {
            let layer = Layer::from_toml("the page", &block).expect(&block);
            if let Err(error) = load(Preset::Test, &[layer], &DESTINATIONS) {
                panic!("{error}:\n{block}");
            }
        }
    }
}

#[test]
fn the_recipes_can_be_joined() {
    let (page, _) = PAGES[0];
    let (_, recipes) = page.split_once("## Recipes").expect("recipes");
    let mut layers = Vec::new();
    for block in blocks(recipes) {
        layers.push(Layer::from_toml("the page", &block).expect("TOML"));
    }
    let settings = load(Preset::Test, &layers, &DESTINATIONS).expect("good settings");
    let settings = toml::to_string(&settings).expect("TOML");
    for line in [
        "Title = \"empty\"",
        "lifecyclestage = \"create\"",
        "salvage = [\"Email\"",
    ] {
        assert!(settings.contains(line), "{line}: {settings}");
    }
}
