//! The file of `bridge run`.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::args::{address, key};
use super::link::{Kind, LinkOptions};
use super::session::Addresses;
use crate::args;
use crate::failure::{Code, Failure};
use crate::target;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    connect: Vec<Spanned<String>>,
    #[serde(default)]
    listen: Vec<Spanned<String>>,
    config: Option<String>,
    #[serde(default)]
    out: Vec<Entry>,
    #[serde(default, rename = "in")]
    into: Vec<Entry>,
    #[serde(default)]
    serve: Vec<Entry>,
    #[serde(default)]
    call: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    key: Spanned<String>,
    owner: Option<Spanned<String>>,
    create: Option<Spanned<bool>>,
}

/// Reads the links of a file, and where they go.
pub(crate) fn read(path: &Path) -> Result<(Vec<LinkOptions>, Addresses), Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(Code::Usage, format!("{} cannot be read: {error}", path.display()))
    })?;
    let wrong = |at: usize, what: &str| {
        let line = text[..at.min(text.len())].matches('\n').count() + 1;
        Failure::new(Code::Usage, format!("{}, line {line}: {what}", path.display()))
    };
    let file: File = toml::from_str(&text)
        .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
    let checked = |text: &Spanned<String>| {
        address(text.get_ref()).map_err(|why| wrong(text.span().start, &why))
    };
    let addresses = |all: &[Spanned<String>]| all.iter().map(checked).collect::<Result<_, _>>();
    let reached = Addresses {
        connect: addresses(&file.connect)?,
        listen: addresses(&file.listen)?,
        // Beside the file that names it.
        config: file.config.map(|config| path.parent().unwrap_or(Path::new("")).join(config)),
    };
    let mut links: Vec<LinkOptions> = Vec::new();
    let kinds = [
        (Kind::Out, file.out),
        (Kind::In, file.into),
        (Kind::Serve, file.serve),
        (Kind::Call, file.call),
    ];
    for (kind, entries) in kinds {
        for entry in entries {
            let at = |text: &Spanned<String>| text.span().start;
            let said = |why: String, text: &Spanned<String>| wrong(at(text), &why);
            let name = target::name(entry.name.get_ref()).map_err(|why| said(why, &entry.name))?;
            let expression = key(entry.key.get_ref()).map_err(|why| said(why, &entry.key))?;
            let owner = match &entry.owner {
                Some(owner) => args::owner(owner.get_ref()).map_err(|why| said(why, owner))?,
                None => sysv_channel::Owner::Myself,
            };
            if links.iter().any(|link| link.kind == kind && link.key == expression) {
                let why =
                    format!("two links `{kind}` have the key {expression}; each needs its own");
                return Err(said(why, &entry.key));
            }
            if let Some(create) = entry.create.as_ref().filter(|_| kind != Kind::In) {
                let why = format!("`create` is for `in`, not for `{kind}`");
                return Err(wrong(create.span().start, &why));
            }
            let create = entry.create.is_some_and(Spanned::into_inner);
            links.push(LinkOptions { kind, name, key: expression, owner, create });
        }
    }
    if links.is_empty() {
        let what =
            "names no link; write [[out]], [[in]], [[serve]] or [[call]] with a name and a key";
        return Err(Failure::new(Code::Usage, format!("{} {what}", path.display())));
    }
    Ok((links, reached))
}
