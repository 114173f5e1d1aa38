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
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let wrong = |at: usize, what: &str| {
        Failure::new(Code::Usage, format!("{}, line {}: {what}", path.display(), line(at)))
    };
    let file: File = toml::from_str(&text)
        .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
    let at = |text: &Spanned<String>| text.span().start;
    let checked =
        |text: &Spanned<String>| address(text.get_ref()).map_err(|why| wrong(at(text), &why));
    let addresses = |all: &[Spanned<String>]| all.iter().map(checked).collect::<Result<_, _>>();
    let reached = Addresses {
        connect: addresses(&file.connect)?,
        listen: addresses(&file.listen)?,
        // Beside the file that names it.
        config: file.config.map(|config| path.parent().unwrap_or(Path::new("")).join(config)),
    };
    // Each with the place of its name.
    let mut links: Vec<(LinkOptions, usize)> = Vec::new();
    let kinds = [
        (Kind::Out, file.out),
        (Kind::In, file.into),
        (Kind::Serve, file.serve),
        (Kind::Call, file.call),
    ];
    for (kind, entries) in kinds {
        for entry in entries {
            let said = |why: String, text: &Spanned<String>| wrong(at(text), &why);
            let name = target::name(entry.name.get_ref()).map_err(|why| said(why, &entry.name))?;
            let expression = key(entry.key.get_ref()).map_err(|why| said(why, &entry.key))?;
            let owner = match &entry.owner {
                Some(owner) => args::owner(owner.get_ref()).map_err(|why| said(why, owner))?,
                None => sysv_channel::Owner::Myself,
            };
            let create_at = entry.create.as_ref().map(|create| create.span().start);
            if let Some(at) = create_at.filter(|_| kind != Kind::In) {
                return Err(wrong(at, &format!("`create` is for `in`, not for `{kind}`")));
            }
            let create = entry.create.is_some_and(Spanned::into_inner);
            let link = LinkOptions { kind, name, key: expression, owner, create };
            if let Some((why, other)) =
                links.iter().find_map(|(other, at)| Some((clash(other, &link)?, at)))
            {
                let why =
                    format!("{why}: this one and that of line {}; leave one out", line(*other));
                return Err(said(why, &entry.name));
            }
            links.push((link, at(&entry.name)));
        }
    }
    if links.is_empty() {
        let what =
            "names no link; write [[out]], [[in]], [[serve]] or [[call]] with a name and a key";
        return Err(Failure::new(Code::Usage, format!("{} {what}", path.display())));
    }
    Ok((links.into_iter().map(|(link, _)| link).collect(), reached))
}

/// Why these two cannot be links of one process. (Two `in` may put into one channel, and two `call` call one server.)
fn clash(one: &LinkOptions, other: &LinkOptions) -> Option<String> {
    let (kind, name, key) = (one.kind, &one.name, &one.key);
    if kind != other.kind {
        return None;
    }
    if *key == other.key {
        return Some(format!("two links `{kind}` have the key {key}"));
    }
    let keys = format!("with the keys {key} and {}", other.key);
    match kind {
        _ if *name != other.name => None,
        Kind::Out => Some(format!("two links `out` take from the channel {name}, {keys}")),
        Kind::Serve => Some(format!("two links `serve` bind the server {name}, {keys}")),
        Kind::In | Kind::Call => None,
    }
}
