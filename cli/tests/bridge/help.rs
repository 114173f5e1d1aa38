//! What the bridge says of itself. `SNAPSHOTS=overwrite cargo test --test bridge help` writes the files anew.

use std::path::Path;

use snapbox::{Data, assert_data_eq};

use crate::stage::prints;

#[test]
fn help_texts_are_as_they_were_read_last() {
    for command in ["", "out", "in", "serve", "call", "run", "status"] {
        let mut arguments = vec!["bridge"];
        arguments.extend(command.split_whitespace());
        arguments.push("--help");
        let file = if command.is_empty() { "bridge" } else { command };
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bridge/help/{file}.txt"));
        assert_data_eq!(prints(&arguments), Data::read_from(&path, None).raw());
    }
}
