//! `call`: a request to a server, and its reply.

use std::task::Poll;
use std::time::Duration;

use sysv_channel::dynamic::{DynamicChannel, DynamicClient, Value};
use sysv_channel::rpc::CallError;

use crate::Finished;
use crate::args::CallArguments;
use crate::ending::{Endings, Peer};
use crate::failure::Failure;
use crate::json;
use crate::output::{Output, print};
use crate::send::value_of;

/// How long to wait for a part in one call, which is how soon a signal, or that the reader has gone, is looked for.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &CallArguments) -> Result<Finished, Failure> {
    let options = DynamicChannel::options().owner(arguments.owner.owner).max_value(u64::MAX);
    let client = options.deadline(arguments.timeout).connect(arguments.name.clone());
    let client = client.map_err(|error| Failure::from(error).of_server())?;
    let request = value_of(client.request_shape(), arguments.request.as_bytes())?;
    if arguments.stream {
        return stream(&client, &request);
    }
    print(&line(client.call(&request))?)?;
    Ok(Finished::Done)
}

/// Prints the parts as they come. Where their reader goes, or a signal comes, the call is cancelled.
fn stream(client: &DynamicClient, request: &Value) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::Reader)?;
    let mut output = Output::new(&endings)?;
    let mut parts = client.stream(request)?;
    while output.has_room()? {
        match parts.next_timeout(LOOK) {
            Poll::Pending => {}
            Poll::Ready(None) => break,
            Poll::Ready(Some(part)) => {
                if !output.line(line(part)?.as_bytes())? {
                    break;
                }
            }
        }
    }
    Ok(endings.ended().map_or(Finished::Done, Finished::Ended))
}

fn line(reply: Result<Value, CallError>) -> Result<String, Failure> {
    json::line(&reply?).map_err(|error| Failure::failed(format!("the reply is no JSON: {error}")))
}
