//! The codecs that channels name, by a shape in place of a type.

use std::sync::Arc;

use super::check::Form;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use super::check::Place;
#[cfg(any(feature = "bincode", feature = "postcard"))]
use super::decode::{Budget, Seed};
use super::error::{DynamicError, ValueError};
use super::shape::{Node, Shape};
use super::value::Value;
#[cfg(feature = "bincode")]
use crate::codec::Bincode;
#[cfg(feature = "json")]
use crate::codec::Json;
#[cfg(feature = "postcard")]
use crate::codec::Postcard;
#[cfg(any(feature = "bincode", feature = "postcard"))]
use crate::codec::Reader;
use crate::codec::{Codec, DecodeError, EncodeError, Raw, Writer};
use crate::inspect::{ChannelKind, Inspection};
use crate::name::Name;
use crate::schema;

/// The name of the codec of C structs, which needs no feature here: its values are bytes.
const POD: &str = "pod";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    #[cfg(feature = "bincode")]
    Bincode,
    #[cfg(feature = "postcard")]
    Postcard,
    #[cfg(feature = "json")]
    Json,
    Raw,
    Pod,
}

impl Format {
    const ALL: &[Format] = &[
        #[cfg(feature = "bincode")]
        Format::Bincode,
        #[cfg(feature = "postcard")]
        Format::Postcard,
        #[cfg(feature = "json")]
        Format::Json,
        Format::Raw,
        Format::Pod,
    ];

    fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "bincode")]
            Format::Bincode => <Bincode as Codec<()>>::NAME,
            #[cfg(feature = "postcard")]
            Format::Postcard => <Postcard as Codec<()>>::NAME,
            #[cfg(feature = "json")]
            Format::Json => <Json as Codec<()>>::NAME,
            Format::Raw => <Raw as Codec<Vec<u8>>>::NAME,
            Format::Pod => POD,
        }
    }

    fn form(self) -> Form {
        match self {
            #[cfg(feature = "json")]
            Format::Json => Form::Json,
            _ => Form::Binary,
        }
    }
}

/// A codec whose values have a shape in place of a type: what a channel's header names.
///
/// A codec's name is the one of its type, such as [`Bincode::NAME`](Codec::NAME), and tells how it is configured.
///
/// - `Bincode`, `Postcard`: by the shape. A value is refused that the type's receiver would refuse or read as
///   something else, but for what a type's own `Deserialize` says of its values (a `try_from`).
/// - `Json`: text is what the sender wrote; what is sent is checked as far as the shape says what there is. Some types
///   are written as text where people are to read them (addresses, times), so text is taken in place of a struct, a
///   tuple or a sequence. A field that may be `None` may be left out; one that has a default may not, since the shape
///   does not say so. Of a type of which only the name is known it is checked that no object has a key twice, and that
///   the value nests no deeper than JSON is read.
/// - `Raw`: bytes, which are arrays of numbers in JSON.
/// - `Pod`: bytes too, as many as the struct has: its shape has no fields.
///
/// ```
/// # #[cfg(feature = "bincode")] {
/// use sysv_channel::Schema;
/// use sysv_channel::codec::{Bincode, Codec};
/// use sysv_channel::dynamic::{DynamicCodec, Value};
///
/// let name = <Bincode as Codec<()>>::NAME;
/// let codec = DynamicCodec::new(name, Schema::of::<(u16, String)>().text())?;
/// let value = Value::from(vec![513.into(), "ab".into()]);
/// let bytes = codec.encode(&value)?;
/// assert_eq!(bytes, b"\x01\x02\x02\0\0\0\0\0\0\0ab");
/// assert_eq!(codec.decode(&bytes)?, value);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DynamicCodec {
    format: Format,
    shape: Arc<Shape>,
}

impl DynamicCodec {
    /// The codec of this name, for values of the shape with this text: as
    /// [`Inspection::codec`](crate::Inspection::codec) and [`Inspection::schema`](crate::Inspection::schema) have them.
    ///
    /// # Errors
    /// [`DynamicError::UnknownCodec`] if this program has no such codec, [`DynamicError::Shape`] if the text is no shape,
    /// [`DynamicError::Untraced`] if the shape does not say how values are encoded.
    pub fn new(codec: &str, shape: &str) -> Result<DynamicCodec, DynamicError> {
        DynamicCodec::of(None, codec, shape)
    }

    /// That of what goes through a channel, as a [`tap`](crate::tap) shows it: of a server the requests, of a mailbox
    /// the messages.
    ///
    /// # Errors
    /// As [`new`](DynamicCodec::new).
    ///
    /// ```
    /// # #[cfg(feature = "bincode")] {
    /// use sysv_channel::Channel;
    /// use sysv_channel::dynamic::DynamicCodec;
    ///
    /// # let name = format!("doc-dynamic-tap-{}", std::process::id());
    /// # let name = name.as_str();
    /// let orders = Channel::<(u64, String)>::create(name)?;
    /// let (tx, rx) = (orders.sender()?, orders.receiver()?);
    ///
    /// let mut tap = sysv_channel::tap(name)?;
    /// let codec = DynamicCodec::of_channel(tap.channel())?;
    /// tx.send(&(7, "seven".to_owned()))?;
    /// let seen = codec.decode(&tap.next().unwrap().bytes)?;
    /// assert_eq!(seen, vec![7.into(), "seven".into()].into());
    /// # rx.recv()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_channel(channel: &Inspection) -> Result<DynamicCodec, DynamicError> {
        let name = channel.name.clone().map_or(Name::Key(channel.key), Name::Text);
        let (codec, text) = (&*channel.codec, &*channel.schema);
        let part = match channel.kind {
            ChannelKind::Channel => return DynamicCodec::of(Some(&name), codec, text),
            ChannelKind::Server => "request",
            ChannelKind::Mailbox => "message",
        };
        let format = DynamicCodec::format(Some(&name), codec)?;
        let parsed = Shape::parse(text);
        let whole =
            parsed.map_err(|error| DynamicError::Shape { name: Some(name.clone()), error })?;
        let untraced =
            || DynamicError::Untraced { name: Some(name.clone()), shape: text.to_owned() };
        DynamicCodec::with(Some(&name), format, whole.field(part).ok_or_else(untraced)?)
    }

    /// The same, where errors name the channel, if there is one.
    pub(super) fn of(name: Option<&Name>, codec: &str, shape: &str) -> Result<Self, DynamicError> {
        let format = DynamicCodec::format(name, codec)?;
        let parsed = Shape::parse(shape);
        let shape = parsed.map_err(|error| DynamicError::Shape { name: name.cloned(), error })?;
        DynamicCodec::with(name, format, shape)
    }

    /// Those of a server: of its requests and of its replies.
    pub(super) fn of_calls(
        name: &Name,
        codec: &str,
        shape: &str,
    ) -> Result<[Self; 2], DynamicError> {
        let format = DynamicCodec::format(Some(name), codec)?;
        let parsed = Shape::parse(shape);
        let both =
            parsed.map_err(|error| DynamicError::Shape { name: Some(name.clone()), error })?;
        let untraced =
            || DynamicError::Untraced { name: Some(name.clone()), shape: shape.to_owned() };
        let request = both.field("request").ok_or_else(untraced)?;
        let reply = both.field("reply").ok_or_else(untraced)?;
        Ok([
            DynamicCodec::with(Some(name), format, request)?,
            DynamicCodec::with(Some(name), format, reply)?,
        ])
    }

    fn format(name: Option<&Name>, codec: &str) -> Result<Format, DynamicError> {
        let known = Format::ALL.iter().copied().find(|format| format.name() == codec);
        let unknown = || DynamicError::UnknownCodec {
            name: name.cloned(),
            codec: codec.to_owned(),
            known: Format::ALL.iter().map(|format| format.name()).collect(),
        };
        known.ok_or_else(unknown)
    }

    fn with(name: Option<&Name>, format: Format, shape: Shape) -> Result<Self, DynamicError> {
        let is_known = match format {
            Format::Raw | Format::Pod => true,
            #[cfg(feature = "json")]
            Format::Json => true,
            #[cfg(any(feature = "bincode", feature = "postcard"))]
            _ => !matches!(shape.node(shape.root()), Node::Any | Node::Foreign(_)),
        };
        if !is_known {
            return Err(DynamicError::Untraced { name: name.cloned(), shape: shape.to_string() });
        }
        Ok(DynamicCodec { format, shape: Arc::new(shape) })
    }

    /// The codec's name.
    pub fn name(&self) -> &'static str {
        self.format.name()
    }

    /// The shape of the values.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The first difference between the values of this codec, which are "here", and those of another, "there", as
    /// [`OpenError`](crate::OpenError) puts it; `None` if a value that one encodes is the same value to the other.
    ///
    /// ```
    /// # #[cfg(all(feature = "bincode", feature = "postcard"))] {
    /// use sysv_channel::codec::{Bincode, Codec, Postcard};
    /// use sysv_channel::dynamic::DynamicCodec;
    ///
    /// let (bincode, postcard) = (<Bincode as Codec<()>>::NAME, <Postcard as Codec<()>>::NAME);
    /// let here = DynamicCodec::new(bincode, "Order{id:u64,symbol:str}")?;
    /// let there = DynamicCodec::new(bincode, "Order{id:u32,symbol:str}")?;
    /// assert_eq!(here.difference(&there).unwrap(), "Order.id: u64 here, u32 there");
    /// assert_eq!(here.difference(&here), None);
    ///
    /// let other = DynamicCodec::new(postcard, "Order{id:u64,symbol:str}")?;
    /// assert!(here.difference(&other).unwrap().starts_with("codec: "));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn difference(&self, other: &DynamicCodec) -> Option<String> {
        if self.format != other.format {
            return Some(format!("codec: {:?} here, {:?} there", self.name(), other.name()));
        }
        let (here, there) = (self.shape.text(), other.shape.text());
        (here != there).then(|| schema::difference(here, there))
    }

    /// Checks that a value can be sent.
    ///
    /// # Errors
    /// [`ValueError`] says at which place something else stands, and what belongs there.
    #[allow(unreachable_patterns, reason = "without a codec of serde's there is no other")]
    pub fn check(&self, value: &Value) -> Result<(), ValueError> {
        match self.format {
            Format::Raw | Format::Pod => self.bytes(value).map(drop),
            format => self.shape.check_for(format.form(), value),
        }
    }

    /// The value's encoding.
    ///
    /// # Errors
    /// [`EncodeError`] if the value is not of the shape, with the path to the place, or nests too deep.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, EncodeError> {
        match self.format {
            #[cfg(feature = "bincode")]
            Format::Bincode => {
                let place = self.checked(value)?;
                written(|out| Bincode::encode_untyped(&place, out))
            }
            #[cfg(feature = "postcard")]
            Format::Postcard => {
                let place = self.checked(value)?;
                written(|out| Postcard::encode_untyped(&place, out))
            }
            #[cfg(feature = "json")]
            Format::Json => {
                let json = serde_json::to_vec(&self.checked(value)?);
                json.map_err(|error| EncodeError::new(error.to_string()))
            }
            Format::Raw | Format::Pod => Ok(self.bytes(value)?),
        }
    }

    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    fn checked<'v>(&'v self, value: &'v Value) -> Result<Place<'v>, ValueError> {
        self.check(value)?;
        Ok(self.shape.place(self.format.form(), value))
    }

    /// The value that bytes are the encoding of.
    ///
    /// # Errors
    /// [`DecodeError`] if they are no encoding of a value of the shape.
    pub fn decode(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        match self.format {
            #[cfg(feature = "bincode")]
            Format::Bincode => {
                let budget = Budget::of(bytes.len());
                Bincode::decode_seed(Seed::of(&self.shape, &budget), Reader::new(bytes))
            }
            #[cfg(feature = "postcard")]
            Format::Postcard => {
                let budget = Budget::of(bytes.len());
                Postcard::decode_seed(Seed::of(&self.shape, &budget), Reader::new(bytes))
            }
            #[cfg(feature = "json")]
            Format::Json => {
                let mut json = serde_json::Deserializer::from_slice(bytes);
                let value = self.shape.read(&mut json).and_then(|value| json.end().map(|()| value));
                value.map_err(|error| DecodeError::new(format!("JSON: {error}")))
            }
            Format::Raw | Format::Pod => match self.fixed_size() {
                Some(size) if size != bytes.len() => Err(DecodeError::new(format!(
                    "{} bytes were received for a struct of {size}",
                    bytes.len()
                ))),
                _ => Ok(Value::Bytes(bytes.to_owned())),
            },
        }
    }

    /// How many bytes each value has, where these are all that is known.
    fn fixed_size(&self) -> Option<usize> {
        match *self.shape.node(self.shape.root()) {
            Node::Foreign(size) if self.format == Format::Pod => size,
            _ => None,
        }
    }

    /// The bytes that a value is.
    fn bytes(&self, value: &Value) -> Result<Vec<u8>, ValueError> {
        let bytes = self.shape.place(Form::Binary, value).plain_bytes()?;
        match self.fixed_size() {
            Some(size) if size != bytes.len() => {
                let what = format!("expected the {size} bytes of a struct, found {}", bytes.len());
                Err(ValueError::from(what).within("$"))
            }
            _ => Ok(bytes),
        }
    }
}

/// Writes an encoding that there is, or says why there is none.
pub(super) fn write_encoded(
    encoded: &Result<Vec<u8>, EncodeError>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    match encoded {
        Ok(bytes) => Ok(out.write(bytes)?),
        Err(error) => Err(error.clone()),
    }
}

/// What is written, in as much memory as it takes.
#[cfg(any(feature = "bincode", feature = "postcard"))]
fn written(
    write: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let mut memory = vec![0; 512];
    loop {
        let mut writer = Writer::new(&mut memory);
        write(&mut writer)?;
        let (len, fits) = (writer.len(), writer.fits());
        memory.resize(len, 0);
        if fits {
            return Ok(memory);
        }
    }
}
