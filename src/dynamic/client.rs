//! A client of a server whose types are not there.

use std::fmt;
use std::iter::FusedIterator;
use std::task::Poll;
use std::time::Duration;

use super::coding::DynamicCodec;
use super::error::DynamicError;
use super::options::DynamicOptions;
use super::shape::Shape;
use super::value::Value;
use crate::codec::Raw;
use crate::error::SendError;
use crate::name::Name;
use crate::rpc::{CallError, Client, ReplyStream};

/// A client that was connected with the shapes of the server's requests and replies.
///
/// When the server's place is taken by another one of the same types, the same client finds it.
///
/// ```
/// # #[cfg(feature = "bincode")] {
/// use sysv_channel::dynamic::{DynamicClient, Value};
/// use sysv_channel::rpc::Server;
///
/// # let name = format!("doc-dynamic-client-{}", std::process::id());
/// # let name = name.as_str();
/// let server = Server::<(f64, f64), f64>::bind(name)?;
/// let closer = server.closer();
/// let serving = std::thread::spawn(move || server.serve(|(a, b)| a + b));
///
/// let client = DynamicClient::connect(name)?;
/// assert_eq!(client.call(&Value::from(vec![1.5.into(), 2.into()]))?, Value::F64(3.5));
///
/// closer.close();
/// serving.join().unwrap()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DynamicClient {
    client: Client<Vec<u8>, Vec<u8>, Raw>,
    request: DynamicCodec,
    reply: DynamicCodec,
}

impl DynamicClient {
    pub(super) fn new(
        client: Client<Vec<u8>, Vec<u8>, Raw>,
        request: DynamicCodec,
        reply: DynamicCodec,
    ) -> Self {
        DynamicClient { client, request, reply }
    }

    /// Connects to a server that is there now, with default [`DynamicOptions`].
    ///
    /// # Errors
    /// As [`DynamicOptions::connect`].
    pub fn connect(name: impl Into<Name>) -> Result<DynamicClient, DynamicError> {
        DynamicOptions::new().connect(name)
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

    /// Calls the server and waits for its reply, ten seconds at most unless
    /// [`DynamicOptions::deadline`] says otherwise.
    ///
    /// # Errors
    /// [`CallError::Send`] with [`SendError::Encode`] if the request is not of its shape, with the path to the place;
    /// else as [`Client::call`](crate::rpc::Client::call).
    pub fn call(&self, request: &Value) -> Result<Value, CallError> {
        self.decode(self.client.call(&self.encode(request)?))
    }

    /// Calls the server and waits at most `timeout` for its reply.
    ///
    /// # Errors
    /// As [`call`](DynamicClient::call).
    pub fn call_timeout(&self, request: &Value, timeout: Duration) -> Result<Value, CallError> {
        self.decode(self.client.call_timeout(&self.encode(request)?, timeout))
    }

    /// Makes a call whose replies are a stream, as [`Client::stream`](crate::rpc::Client::stream). Any call can be made
    /// so: one that is answered by a reply alone is a stream of one.
    ///
    /// # Errors
    /// As [`call`](DynamicClient::call) and [`Client::stream`](crate::rpc::Client::stream).
    pub fn stream(&self, request: &Value) -> Result<DynamicReplyStream<'_>, CallError> {
        let stream = self.client.stream(&self.encode(request)?)?;
        Ok(DynamicReplyStream { client: self, stream })
    }

    /// The same client with requests and replies as they are encoded, for a program that passes them on unread: nothing
    /// is checked, decoded or encoded. It has all that a client has, as calls that are
    /// [waited for later](crate::rpc::Client::start).
    ///
    /// ```
    /// # #[cfg(feature = "bincode")] {
    /// use sysv_channel::dynamic::DynamicClient;
    /// use sysv_channel::rpc::Server;
    ///
    /// # let name = format!("doc-dynamic-client-bytes-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<u16, u32>::bind(name)?;
    /// let closer = server.closer();
    /// let serving = std::thread::spawn(move || server.serve(|number| u32::from(number) + 1));
    ///
    /// let client = DynamicClient::connect(name)?;
    /// let reply = client.bytes().call(&7_u16.to_le_bytes().to_vec())?;
    /// assert_eq!(reply, 8_u32.to_le_bytes());
    ///
    /// closer.close();
    /// serving.join().unwrap()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes(&self) -> &Client<Vec<u8>, Vec<u8>, Raw> {
        &self.client
    }

    fn encode(&self, request: &Value) -> Result<Vec<u8>, CallError> {
        let refused = |error| SendError::Encode { channel: self.client.server(), error };
        self.request.encode(request).map_err(|error| CallError::Send(refused(error)))
    }

    fn decode(&self, reply: Result<Vec<u8>, CallError>) -> Result<Value, CallError> {
        let undecodable = |error| CallError::Decode { server: self.client.server(), error };
        self.reply.decode(&reply?).map_err(undecodable)
    }
}

impl fmt::Debug for DynamicClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicClient")
            .field("client", &self.client)
            .field("request", self.request_shape())
            .field("reply", self.reply_shape())
            .finish()
    }
}

/// The replies to one call of a [`DynamicClient`], as they come.
///
/// An error is the last item, but for a part that cannot be decoded ([`CallError::Decode`]). Dropping it before the end
/// cancels the call.
#[must_use = "a stream that is dropped is cancelled"]
#[derive(Debug)]
pub struct DynamicReplyStream<'c> {
    client: &'c DynamicClient,
    stream: ReplyStream<Vec<u8>, Vec<u8>, Raw>,
}

impl DynamicReplyStream<'_> {
    /// The next part, waited for at most so long, as [`ReplyStream::next_timeout`](crate::rpc::ReplyStream::next_timeout):
    /// [`Poll::Pending`] if it has not come by then, and `None` behind the last.
    ///
    /// # Errors
    /// The last item may be an error, as it may be of the iterator.
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<Value, CallError>>> {
        let client = self.client;
        self.stream.next_timeout(timeout).map(|part| Some(client.decode(part?)))
    }
}

impl Iterator for DynamicReplyStream<'_> {
    type Item = Result<Value, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.client.decode(self.stream.next()?))
    }
}

impl FusedIterator for DynamicReplyStream<'_> {}
