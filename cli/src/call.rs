//! `call`: a request to a server, and its reply.

use sysv_channel::dynamic::{DynamicChannel, Value};
use sysv_channel::rpc::CallError;

use crate::args::CallArguments;
use crate::failure::Failure;
use crate::json;
use crate::output::print;
use crate::send::value_of;

pub(crate) fn run(arguments: &CallArguments) -> Result<(), Failure> {
    let options = DynamicChannel::options().owner(arguments.owner.owner).max_value(u64::MAX);
    let client = options.deadline(arguments.timeout).connect(arguments.name.clone());
    let client = client.map_err(|error| Failure::from(error).of_server())?;
    let request = value_of(client.request_shape(), arguments.request.as_bytes())?;
    if !arguments.stream {
        return show(client.call(&request));
    }
    client.stream(&request)?.try_for_each(show)
}

fn show(reply: Result<Value, CallError>) -> Result<(), Failure> {
    let line = json::line(&reply?)
        .map_err(|error| Failure::failed(format!("the reply is no JSON: {error}")))?;
    print(&line)
}
