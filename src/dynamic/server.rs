//! A server whose types are not there.

use std::fmt;
use std::time::Duration;

use super::coding::{DynamicCodec, write_encoded};
use super::error::DynamicError;
use super::options::DynamicOptions;
use super::shape::Shape;
use super::value::Value;
use crate::codec::{Raw, Reader};
use crate::name::Name;
use crate::rpc::{ClientId, Closer, Peer, ReplyError, Responder, ServeError, Server};
use crate::sys::Deadline;

/// A server that is bound with the shapes of its requests and replies.
///
/// To its clients it is one of these types: a typed [`Client`](crate::rpc::Client) connects to it if its types have these
/// shapes, and is told the first difference otherwise. What holds of a [`Server`] holds of this one; a request that is
/// not of its shape is answered with [`Unreadable`](crate::rpc::CallError::Unreadable) and not received.
///
/// ```
/// # #[cfg(feature = "bincode")] {
/// use sysv_channel::codec::{Bincode, Codec};
/// use sysv_channel::dynamic::{DynamicCodec, DynamicServer, Value};
/// use sysv_channel::rpc::Client;
///
/// # let name = format!("doc-dynamic-server-{}", std::process::id());
/// # let name = name.as_str();
/// let codec = |shape| DynamicCodec::new(<Bincode as Codec<()>>::NAME, shape);
/// let server = DynamicServer::bind(name, codec("(f64,f64)")?, codec("f64")?)?;
/// let closer = server.closer();
/// let serving = std::thread::spawn(move || {
///     for request in server.incoming() {
///         let (query, responder) = request?.into_parts();
///         let Value::Seq(both) = query else { continue };
///         // A caller that has gone has itself to blame.
///         let _ = responder.reply(&both[0]);
///     }
///     Ok::<(), sysv_channel::rpc::ServeError>(())
/// });
///
/// let client = Client::<(f64, f64), f64>::connect(name)?;
/// assert_eq!(client.call(&(1.5, 2.0))?, 1.5);
///
/// closer.close();
/// serving.join().unwrap()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DynamicServer {
    server: Server<Vec<u8>, Vec<u8>, Raw>,
    request: DynamicCodec,
    reply: DynamicCodec,
}

impl DynamicServer {
    pub(super) fn new(
        server: Server<Vec<u8>, Vec<u8>, Raw>,
        request: DynamicCodec,
        reply: DynamicCodec,
    ) -> Self {
        DynamicServer { server, request, reply }
    }

    /// Binds a server to a name, with default [`DynamicOptions`].
    ///
    /// # Errors
    /// As [`DynamicOptions::bind`].
    pub fn bind(
        name: impl Into<Name>,
        request: DynamicCodec,
        reply: DynamicCodec,
    ) -> Result<DynamicServer, DynamicError> {
        DynamicOptions::new().bind(name, request, reply)
    }

    /// The shape of requests.
    pub fn request_shape(&self) -> &Shape {
        self.request.shape()
    }

    /// The shape of replies.
    pub fn reply_shape(&self) -> &Shape {
        self.reply.shape()
    }

    /// How requests are encoded.
    pub fn request_codec(&self) -> &DynamicCodec {
        &self.request
    }

    /// How replies are encoded.
    pub fn reply_codec(&self) -> &DynamicCodec {
        &self.reply
    }

    /// The next request; `None` when the server was [closed](DynamicServer::closer).
    ///
    /// # Errors
    /// As [`Server::recv`].
    pub fn recv(&self) -> Result<Option<DynamicRequest>, ServeError> {
        self.receive(Deadline::never())
    }

    /// The next request, if there is one now; `None` when the server was [closed](DynamicServer::closer).
    ///
    /// # Errors
    /// As [`Server::try_recv`].
    pub fn try_recv(&self) -> Result<Option<DynamicRequest>, ServeError> {
        self.receive(Deadline::now())
    }

    /// The next request, and waits at most `timeout` for it; `None` when the server was
    /// [closed](DynamicServer::closer).
    ///
    /// # Errors
    /// As [`Server::recv_timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<DynamicRequest>, ServeError> {
        self.receive(Deadline::after(timeout))
    }

    /// The requests as they come, to be answered now or later, until it is [closed](DynamicServer::closer).
    pub fn incoming(&self) -> impl Iterator<Item = Result<DynamicRequest, ServeError>> {
        std::iter::from_fn(|| self.recv().transpose())
    }

    fn receive(&self, deadline: Deadline) -> Result<Option<DynamicRequest>, ServeError> {
        let decode = |mut reader: Reader<'_>| {
            let bytes = reader.read_vec(reader.remaining())?;
            self.request.decode(&bytes)
        };
        let received = self.server.receive_as(deadline, decode)?;
        Ok(received.map(|request| {
            let (query, responder) = request.into_parts();
            let responder = DynamicResponder { responder, codec: self.reply.clone() };
            DynamicRequest { query, responder }
        }))
    }

    /// What closes the server from another thread.
    pub fn closer(&self) -> Closer {
        self.server.closer()
    }

    /// Whether the server was [closed](DynamicServer::closer).
    pub fn is_closed(&self) -> bool {
        self.server.is_closed()
    }

    /// The same server with requests and replies as they are encoded, for a program that passes them on unread: nothing
    /// is checked, decoded or encoded. It has all that a server has, as a place in a
    /// [`WaitSet`](crate::WaitSet), and gives the requests that this one has not received.
    ///
    /// ```
    /// # #[cfg(feature = "bincode")] {
    /// use sysv_channel::codec::{Bincode, Codec};
    /// use sysv_channel::dynamic::{DynamicCodec, DynamicServer};
    /// use sysv_channel::rpc::Client;
    ///
    /// # let name = format!("doc-dynamic-server-bytes-{}", std::process::id());
    /// # let name = name.as_str();
    /// let codec = |shape| DynamicCodec::new(<Bincode as Codec<()>>::NAME, shape);
    /// let server = DynamicServer::bind(name, codec("u16")?, codec("u16")?)?;
    /// let client = Client::<u16, u16>::connect(name)?;
    /// let started = client.start(&7)?;
    ///
    /// let (bytes, responder) = server.bytes().recv()?.unwrap().into_parts();
    /// assert_eq!(bytes, 7_u16.to_le_bytes());
    /// responder.reply(&bytes)?;
    /// assert_eq!(started.wait()?, 7);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes(&self) -> &Server<Vec<u8>, Vec<u8>, Raw> {
        &self.server
    }

    /// As [`bytes`](DynamicServer::bytes), and for good.
    pub fn into_bytes(self) -> Server<Vec<u8>, Vec<u8>, Raw> {
        self.server
    }
}

impl fmt::Debug for DynamicServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicServer")
            .field("server", &self.server)
            .field("request", self.request_shape())
            .field("reply", self.reply_shape())
            .finish()
    }
}

/// A request to a [`DynamicServer`] that waits for its reply; dropping it without one tells the caller so.
#[derive(Debug)]
pub struct DynamicRequest {
    query: Value,
    responder: DynamicResponder,
}

impl DynamicRequest {
    /// What was asked.
    pub fn query(&self) -> &Value {
        &self.query
    }

    /// What was asked, and where to reply to it later, from any thread.
    pub fn into_parts(self) -> (Value, DynamicResponder) {
        (self.query, self.responder)
    }

    /// Replies.
    ///
    /// # Errors
    /// As [`DynamicResponder::reply`].
    pub fn reply(self, reply: &Value) -> Result<(), ReplyError> {
        self.responder.reply(reply)
    }

    /// As [`Responder::client_id`].
    pub fn client_id(&self) -> ClientId {
        self.responder.client_id()
    }

    /// As [`Responder::client`].
    pub fn client(&self) -> Option<Peer> {
        self.responder.client()
    }

    /// As [`Responder::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.responder.remaining()
    }

    /// As [`Responder::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.responder.is_cancelled()
    }
}

/// Where to reply to one request of a [`DynamicServer`], once; dropping it without a reply tells the caller so.
pub struct DynamicResponder {
    responder: Responder<Vec<u8>, Raw>,
    codec: DynamicCodec,
}

impl DynamicResponder {
    /// The shape of replies. What is not sure to be of it can be [checked](Shape::check) before.
    pub fn shape(&self) -> &Shape {
        self.codec.shape()
    }

    /// Replies, without waiting, as [`Responder::reply`].
    ///
    /// # Errors
    /// [`ReplyError::Send`] with [`SendError::Encode`](crate::SendError::Encode) if the reply is not of its shape, with
    /// the path to the place, which the caller is told too
    /// ([`Unsendable`](crate::rpc::CallError::Unsendable)); else as [`Responder::reply`].
    pub fn reply(self, reply: &Value) -> Result<(), ReplyError> {
        let encoded = self.codec.encode(reply);
        self.responder.reply_as(|out| write_encoded(&encoded, out))
    }

    /// Whether the caller reads a stream of replies, as [`Responder::is_stream`].
    pub fn is_stream(&self) -> bool {
        self.responder.is_stream()
    }

    /// Sends a part of a stream of replies, and waits while the caller is too far behind, as [`Responder::part`].
    ///
    /// # Errors
    /// [`ReplyError::Send`] with [`SendError::Encode`](crate::SendError::Encode) if the part is not of the shape of
    /// replies, with the path to the place: the stream goes on. Else as [`Responder::part`].
    pub fn part(&mut self, part: &Value) -> Result<(), ReplyError> {
        self.part_by(part, Deadline::never())
    }

    /// Like [`part`](DynamicResponder::part), but does not wait, as [`Responder::try_part`].
    ///
    /// # Errors
    /// As [`part`](DynamicResponder::part) and [`Responder::try_part`].
    pub fn try_part(&mut self, part: &Value) -> Result<(), ReplyError> {
        self.part_by(part, Deadline::now())
    }

    /// Like [`part`](DynamicResponder::part), but waits at most so long, as [`Responder::part_timeout`].
    ///
    /// # Errors
    /// As [`part`](DynamicResponder::part) and [`Responder::part_timeout`].
    pub fn part_timeout(&mut self, part: &Value, timeout: Duration) -> Result<(), ReplyError> {
        self.part_by(part, Deadline::after(timeout))
    }

    fn part_by(&mut self, part: &Value, until: Deadline) -> Result<(), ReplyError> {
        let encoded = self.codec.encode(part);
        self.responder.part_as(until, |out| write_encoded(&encoded, out))
    }

    /// Ends a stream of replies behind the parts that were sent, as [`Responder::finish`].
    ///
    /// # Errors
    /// As [`Responder::finish`].
    pub fn finish(self) -> Result<(), ReplyError> {
        self.responder.finish()
    }

    /// As [`Responder::client_id`].
    pub fn client_id(&self) -> ClientId {
        self.responder.client_id()
    }

    /// As [`Responder::client`].
    pub fn client(&self) -> Option<Peer> {
        self.responder.client()
    }

    /// As [`Responder::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.responder.remaining()
    }

    /// As [`Responder::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.responder.is_cancelled()
    }
}

impl fmt::Debug for DynamicResponder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicResponder")
            .field("responder", &self.responder)
            .field("codec", &self.codec)
            .finish()
    }
}
