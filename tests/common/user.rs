//! A child that does with a channel what it is told.

use std::error::Error;
use std::time::Duration;

use sysv_channel::{DefaultCodec, Options};

use super::{Child, Parcel, Shape, Stage, listen, say, write_handle};

/// Does with the channel what the lines say, and answers each with "ok" or the error.
pub(crate) fn follow_orders(name: &str, options: &Options<Parcel, DefaultCodec>) {
    let (mut channel, mut tx, mut rx) = (None, None, None);
    loop {
        let order = listen();
        let (order, number) = order.rsplit_once(' ').unwrap_or((&order, "0"));
        let done: Result<(), Box<dyn Error>> = match order {
            "create" => options.create(name).map(|new| channel = Some(new)).map_err(Into::into),
            "open" => options.open(name).map(|new| channel = Some(new)).map_err(Into::into),
            "private" => options.private().map_err(Into::into).map(|new| {
                say(write_handle(new.handle()));
                channel = Some(new);
            }),
            "send" => {
                tx = tx.or_else(|| Some(channel.as_ref()?.sender().unwrap()));
                let parcel = |id| Parcel::new(1, id, (id * 100) as usize);
                (0..number.parse().unwrap())
                    .try_for_each(|id| tx.as_ref().unwrap().send(&parcel(id)))
                    .map_err(Into::into)
            }
            "give up" => {
                tx = tx.or_else(|| Some(channel.as_ref()?.sender().unwrap()));
                let parcel = Parcel::new(1, 0, number.parse().unwrap());
                let sent = tx.as_ref().unwrap().send_timeout(&parcel, Duration::from_millis(5));
                assert!(sent.unwrap_err().is_timeout());
                Ok(())
            }
            "receive" => {
                rx = rx.or_else(|| Some(channel.as_ref()?.receiver().unwrap()));
                let rx = rx.as_ref().unwrap();
                (0..number.parse().unwrap())
                    .try_for_each(|_| rx.recv().map(drop))
                    .map_err(Into::into)
            }
            "close" => {
                (channel, tx, rx) = (None, None, None);
                Ok(())
            }
            _ => return,
        };
        match done {
            Ok(()) => say("ok"),
            Err(error) => say(error),
        }
    }
}

/// Gives a child orders that it has to carry out.
pub(crate) fn order(child: &mut Child, orders: &[&str]) {
    for order in orders {
        child.tell(order);
        child.expect("ok");
    }
}

/// Starts one and gives it its first orders.
pub(crate) fn user(stage: &Stage, shape: Shape, orders: &[&str]) -> Child {
    let mut child = stage.child("user", &[&format!("{shape:?}")]);
    order(&mut child, orders);
    child
}
