//! Accounts as actors, a process each, and transfers between them while they are killed at random.
//!
//! ```sh
//! cargo run --release --example bank
//! ```
//!
//! Each booking has a number, and an account does what has the same number once. It keeps its state
//! in a file that it replaces before it replies, so a teller who was not answered asks again.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, sync::Mutex, thread};

use nix::sys::{prctl, signal::Signal};
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;
use sysv_channel::actor::{Address, AskError, Mailbox, ReplyTo};

const ACCOUNTS: u64 = 3;
const TELLERS: u64 = 2;
const TRANSFERS: u64 = 100;
const START: i64 = 1000;

/// What an account is asked.
#[derive(Serialize, Deserialize)]
enum Account {
    /// Adds this, less than nothing to take away; says whether there was enough.
    Book {
        number: u64,
        amount: i64,
        reply: ReplyTo<bool>,
    },
    Balance(ReplyTo<i64>),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, name, file] if role == "account" => keep(name, file),
        _ => trade(),
    }
}

/// An account's process.
fn keep(name: &str, file: &str) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // What was booked, by its number; nothing where there was not enough.
    let mut booked: BTreeMap<u64, i64> = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        let (number, amount) = line.split_once(' ').ok_or("half a line")?;
        booked.insert(number.parse()?, amount.parse()?);
    }
    let mailbox = Mailbox::<Account>::bind(name)?;
    while let Some(message) = mailbox.recv()? {
        let balance = START + booked.values().sum::<i64>();
        // A teller that has gone, or asked again, needs no reply.
        match message {
            Account::Balance(reply) => drop(reply.send(&balance)),
            Account::Book { number, amount, reply } => {
                let enough = balance + amount >= 0;
                booked.entry(number).or_insert(if enough { amount } else { 0 });
                let text: String =
                    booked.iter().map(|(n, amount)| format!("{n} {amount}\n")).collect();
                fs::write(format!("{file}.new"), text)?;
                fs::rename(format!("{file}.new"), file)?;
                drop(reply.send(&(booked[&number] == amount)));
            }
        }
    }
    Ok(())
}

/// Asks until there is an answer, since an account does everything once.
fn insist<R>(ask: impl Fn() -> Result<R, AskError>) -> R {
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_died() || error.is_timeout(), "{error}"),
        }
    }
}

fn trade() -> Result<(), Box<dyn Error>> {
    let name = |account: u64| format!("bank {} {account}", std::process::id());
    let folder = std::env::temp_dir().join(name(ACCOUNTS));
    fs::create_dir(&folder)?;
    let random = |bound: u64| RandomState::new().hash_one(0) % bound;
    let program = std::env::current_exe()?;
    let start = |account: u64| {
        let file = folder.join(account.to_string());
        Command::new(&program).args(["account", &name(account)]).arg(file).spawn()
    };
    let children: Vec<_> = (0..ACCOUNTS).map(|_| Mutex::new(None::<Child>)).collect();
    let place = |account: u64| children[account as usize].lock().expect("nobody panics");
    let kill = |account| place(account).as_mut().map(Child::kill).transpose().expect("it is ours");
    let address = |account| Address::<Account>::connect(name(account)).expect("a mailbox appears");
    let (over, starts) = (AtomicBool::new(false), AtomicU64::new(0));
    let supervise = |account| {
        loop {
            let mut child = place(account);
            if over.load(Ordering::Relaxed) {
                return;
            }
            *child = Some(start(account).expect("this program starts again"));
            starts.fetch_add(1, Ordering::Relaxed);
            let address = address(account);
            address.ask(Account::Balance).expect("nobody kills it while the place is locked");
            let watch = address.watch().expect("it can be watched");
            drop(child);
            watch.wait().expect("the kernel tells");
            place(account).take().expect("it was put there").wait().expect("it is ours");
        }
    };
    let teller = |teller: u64| {
        let accounts: Vec<_> = (0..ACCOUNTS).map(address).collect();
        for number in 0..TRANSFERS {
            let (from, to) = (random(ACCOUNTS) as usize, random(ACCOUNTS) as usize);
            // Two bookings, each with a number, for an account that pays itself.
            let (booking, amount) = (2 * (number * TELLERS + teller), 1 + random(500) as i64);
            _ = (random(10) == 0).then(|| kill(random(ACCOUNTS)));
            let book = |account: usize, number: u64, amount: i64| {
                let book = |reply| Account::Book { number, amount, reply };
                insist(|| accounts[account].ask(book))
            };
            assert!(!book(from, booking, -amount) || book(to, booking + 1, amount));
        }
    };
    let balances: Vec<i64> = thread::scope(|scope| {
        let (supervise, teller) = (&supervise, &teller);
        (0..ACCOUNTS).for_each(|account| drop(scope.spawn(move || supervise(account))));
        let tellers: Vec<_> = (0..TELLERS).map(|id| scope.spawn(move || teller(id))).collect();
        tellers.into_iter().for_each(|teller| teller.join().expect("a teller"));
        let ask = |account| insist(|| address(account).ask(Account::Balance));
        let balances = (0..ACCOUNTS).map(ask).collect();
        over.store(true, Ordering::Relaxed);
        (0..ACCOUNTS).for_each(|account| _ = kill(account));
        balances
    });
    fs::remove_dir_all(&folder)?;
    // A question that was asked again may have been left in the mailbox, which then stays.
    (0..ACCOUNTS).for_each(|account| _ = Channel::<()>::unlink(name(account)));
    let (sum, restarts) = (balances.iter().sum::<i64>(), starts.into_inner() - ACCOUNTS);
    println!("{} transfers, {restarts} restarts: {balances:?}, {sum} in all", TELLERS * TRANSFERS);
    assert_eq!(sum, ACCOUNTS as i64 * START, "money was made or lost");
    Ok(())
}
