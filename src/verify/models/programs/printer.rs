//! Shrinks a program that fails, and prints it as code.

use std::fmt::Write;

use super::checker::{Journal, Outcome, value};
use super::generator::simpler;
use super::language::{Fate, How, Operation, Party, Program, Role, Scene, Size, Wanted};

/// The smallest program on the way down that still fails.
pub(super) fn shrink(program: &Program, fails: impl Fn(&Program) -> bool) -> Program {
    let mut smallest = program.clone();
    while let Some(smaller) = simpler(&smallest).into_iter().find(|program| fails(program)) {
        smallest = smaller;
    }
    smallest
}

/// The program as a model, with what each operation came to in the execution that failed.
pub(super) fn code(program: &Program, journal: &Journal) -> String {
    let mut out = String::new();
    let is_killed = program.victim().is_some();
    let model = if is_killed { "|step| {" } else { "|| {" };
    let _ = writeln!(
        out,
        "// {program}\n#[test]\nfn a_generated_program() {{\n    let model = {model}"
    );
    let _ = writeln!(out, "        only_short_times_pass();");
    for line in setting(program) {
        let _ = writeln!(out, "        {line}");
    }
    for (party, it) in program.parties.iter().enumerate() {
        print_party(&mut out, program, party, it, journal.parties.get(party));
    }
    if program.has(|operation| operation.how() == How::Timed) {
        let _ = writeln!(out, "        let_short_times_pass();");
    }
    for (party, it) in program.parties.iter().enumerate() {
        let unwrap = if it.fate == Fate::Lives { ".unwrap()" } else { "" };
        let _ = writeln!(out, "        let kept{party} = party{party}.join(){unwrap};");
    }
    let holds = if is_killed { "holds_killed" } else { "holds" };
    let _ = writeln!(out, "    }};\n    {holds}(\"a generated program\", model);\n}}");
    out
}

fn setting(program: &Program) -> Vec<String> {
    let scene = program.scene;
    let mut lines = Vec::new();
    match scene {
        Scene::Calls => {
            lines.push("let options = || ServerOptions::new().clients(5).capacity(512).reply_capacity(256);".to_owned());
            lines.push(
                "let keeper = options().channel::<u8, u8, Bincode>().create(\"calls\").unwrap();"
                    .to_owned(),
            );
            lines.push("let connect = || ClientOptions::new().wait_for_server(Duration::ZERO).deadline(Duration::MAX).connect::<u8, u8, Bincode>(\"calls\").unwrap();".to_owned());
            lines.push("let connect_repeatable = || ClientOptions::new().wait_for_server(Duration::ZERO).deadline(Duration::MAX).repeatable().connect::<u8, u8, Bincode>(\"calls\").unwrap();".to_owned());
            lines.push("let bind = || options().bind::<u8, u8, Bincode>(\"calls\");".to_owned());
        }
        Scene::Actors => {
            lines.push(
                "// `Letter` and `Letters` as in `programs::interpreter::actors`.".to_owned(),
            );
            lines.push("let options = || MailboxOptions::new().addresses(6).inline_limit(64).capacity(128).reply_capacity(256);".to_owned());
            for name in ["actor", "holder"] {
                lines.push(format!("let keeper_of_{name} = options().channel::<Letter, Letters>().create(\"{name}\").unwrap();"));
            }
            lines.push("let connect = |name| Address::<Letter, Letters>::connect_timeout(name, Duration::ZERO).unwrap();".to_owned());
            lines.push("let bind = |name| options().bind::<Letter, Letters>(name);".to_owned());
        }
        Scene::Names => {
            lines.push("let options = || Channel::<u8>::options().lanes(3).inline_limit(0).capacity(512).schema(Schema::named(\"u8\", 1));".to_owned());
            if program.past {
                lines.push(
                    "options().create(\"name\").unwrap().sender().unwrap().send(&0).unwrap();"
                        .to_owned(),
                );
            }
            return lines;
        }
        _ => {
            lines.push(format!("set_queue_capacity({});", scene.queue_capacity()));
            lines.push(format!(
                "let options = || Channel::<Vec<u8>, Raw>::options().lanes(3).inline_limit({}).{}.return_capacity({}).max_value(1000).in_place(TrustedPeers::of_a_model());",
                usize::from(scene.has_queue()),
                match program.window() {
                    Some(lines) => format!("window({})", lines * 64),
                    None => format!("capacity({})", scene.lines() * 64),
                },
                if scene == Scene::Answers { 256 } else { 0 },
            ));
            lines.push("let channel = options().create(\"program\").unwrap();".to_owned());
        }
    }
    if program.past {
        lines.push(match scene {
            Scene::Calls => "drop((bind().unwrap(), connect()));".to_owned(),
            Scene::Actors => "drop((bind(\"actor\").unwrap(), connect(\"actor\")));".to_owned(),
            // See `programs::interpreter::channel::past` for what it sends there.
            _ => "drop((channel.sender().unwrap(), channel.receiver().unwrap()));".to_owned(),
        });
    }
    lines
}

/// How a role is taken, and what it is called.
fn end(role: Role, party: usize) -> (String, String) {
    let (name, taken) = match role {
        Role::Sender => ("tx", "channel.sender()"),
        Role::Receiver => ("rx", "channel.receiver()"),
        Role::Client => ("client", "Ok::<_, ()>(connect())"),
        // With `ClientOptions::repeatable`.
        Role::Repeater => ("client", "Ok::<_, ()>(connect_repeatable())"),
        Role::Server => ("server", "bind()"),
        Role::Asker => ("address", "Ok::<_, ()>(connect(\"actor\"))"),
        Role::Actor => ("mailbox", "bind(\"actor\")"),
        Role::Holder => ("mailbox", "bind(\"holder\")"),
        Role::User => ("channel", "options().open_or_create(\"name\")"),
        Role::Remover => ("remover", "Ok::<_, ()>(())"),
    };
    let own = match role {
        Role::Sender | Role::Receiver => taken.replace("channel.", &format!("channel{party}.")),
        _ => taken.to_owned(),
    };
    (format!("{name}{party}"), own)
}

fn print_party(
    out: &mut String,
    program: &Program,
    party: usize,
    it: &Party,
    outcomes: Option<&Vec<Outcome>>,
) {
    let Party { role, fate, attached, operations } = it;
    let (name, taken) = end(*role, party);
    let lives = *fate == Fate::Lives;
    if !lives {
        let _ = writeln!(out, "        let process{party} = Process::new();");
    }
    let enter = |made: String| {
        if lives { made } else { format!("process{party}.enter(|| {made})") }
    };
    if matches!(role, Role::Sender | Role::Receiver) {
        let opened = if lives {
            "channel.clone()".to_owned()
        } else {
            let _ = writeln!(out, "        let handle = channel.handle();");
            "options().open(handle).unwrap()".to_owned()
        };
        let _ = writeln!(out, "        let channel{party} = {};", enter(opened));
    }
    let first = if *attached { format!("Some({taken}.unwrap())") } else { "None".to_owned() };
    let _ = writeln!(out, "        let mut {name} = {};", enter(first));
    let spawn = match fate {
        Fate::Lives => "thread::spawn".to_owned(),
        Fate::Killed => format!("process{party}.kill_at(step).spawn"),
        Fate::Stopped => format!("process{party}.stop_at(step).spawn"),
    };
    let _ = writeln!(out, "        let party{party} = {spawn}(move || {{");
    let mut pending = 0;
    for (index, &operation) in operations.iter().enumerate() {
        let id = value(party, index);
        let call = match operation {
            Operation::Start => {
                pending += 1;
                format!("let pending{pending} = {name}.as_ref().unwrap().start(&{id}).unwrap()")
            }
            Operation::Wait => format!("let _ = pending{pending}.wait()"),
            Operation::Cancel => format!("drop(pending{pending})"),
            _ => call(program.scene, operation, &name, &taken, id),
        };
        let came_to = match outcomes.and_then(|outcomes| outcomes.get(index)) {
            Some(outcome) => format!("{outcome:?}"),
            None => "not ended".to_owned(),
        };
        let _ = writeln!(out, "            {call}; // {came_to}");
    }
    let _ = writeln!(out, "            {name}\n        }});");
}

fn call(scene: Scene, operation: Operation, name: &str, taken: &str, id: u8) -> String {
    let end = format!("{name}.as_ref().unwrap()");
    let how = |how, call: &str, arguments: &str| {
        let comma = if arguments.is_empty() { "" } else { ", " };
        match how {
            How::Wait => format!("let _ = {end}.{call}({arguments})"),
            How::Try => format!("let _ = {end}.try_{call}({arguments})"),
            How::Timed => {
                format!("let _ = {end}.{call}_timeout({arguments}{comma}SHORT)")
            }
        }
    };
    let tag = |number: i64| format!("Tag::new({number}).unwrap()");
    match operation {
        Operation::Attach(_) => format!("{name} = {taken}.ok()"),
        Operation::Leave(_) => format!("drop({name}.take())"),
        Operation::Send(size, kind, waits) => {
            let value = format!("{}, &vec![{id}; {}]", tag(kind.number()), scene.len(size));
            how(waits, "send_tagged", &value)
        }
        Operation::Hear => how(How::Wait, "recv_back::<Vec<u8>>", ""),
        Operation::Receive(wanted, waits) => {
            let select = match wanted {
                Wanted::Any => "Select::Any".to_owned(),
                Wanted::Exactly(kind) => format!("Select::Exactly({})", tag(kind.number())),
                Wanted::UpTo(kind) => format!("Select::UpTo({})", tag(kind.number())),
                Wanted::Except(kind) => format!("Select::Except({})", tag(kind.number())),
            };
            how(waits, "recv_matching", &select)
        }
        Operation::ReceiveInPlace => format!("drop({end}.recv_in_place())"),
        Operation::Reply(size) => {
            let len = if size == Size::Long { 150 } else { 1 };
            format!(
                "let _ = {end}.recv_from().map(|(it, origin)| \
                 {end}.send_back(origin, &vec![it[0]; {len}]))"
            )
        }
        Operation::Call(waits) => how(waits, "call", &format!("&{id}")),
        Operation::Answer(waits) if scene == Scene::Calls => {
            how(waits, "recv", "")
                + ".map(|it| it.map(|it| { let reply = !*it.query(); it.reply(&reply) }))"
        }
        Operation::Answer(waits) => {
            how(waits, "recv", "")
                + ".map(|it| it.map(|Letter(id, port)| port.map(|it| it.send(&!id))))"
        }
        Operation::AnswerElsewhere => format!(
            "let request = {end}.recv().unwrap().unwrap(); \
             let elsewhere = thread::spawn(move || {{ let reply = !*request.query(); request.reply(&reply) }})"
        ),
        Operation::Refuse => format!("drop({end}.recv())"),
        Operation::Tell(super::language::Kind::Five) => {
            format!("let _ = {end}.tell_urgent_timeout(&Letter({id}, None), Duration::MAX)")
        }
        Operation::Tell(_) => {
            format!("let _ = {end}.tell_timeout(&Letter({id}, None), Duration::MAX)")
        }
        Operation::Ask(waits) => {
            let time = if waits == How::Timed { "SHORT" } else { "Duration::MAX" };
            format!("let _ = {end}.ask_timeout(|port| Letter({id}, Some(port)), {time})")
        }
        // Behind the party's operations it goes, with what is watched.
        Operation::Watch => format!("let watch = {end}.watch().unwrap()"),
        Operation::AwaitEnd => "watch.wait().unwrap()".to_owned(),
        Operation::PassOn => format!(
            "let _ = {end}.recv().map(|it| it.map(|it| connect(\"holder\").tell_timeout(&it, Duration::MAX)))"
        ),
        Operation::Attend => {
            // Closed, by its closer, once the others have ended.
            match scene {
                Scene::Actors => format!("while let Ok(Some(_)) = {end}.recv() {{}}"),
                // Ended by time, which `let_short_times_pass` lets pass then.
                _ => format!("while {end}.recv_timeout(SHORT).is_ok() {{}}"),
            }
        }
        Operation::Serve => {
            // Closed, by its closer, once the others have ended.
            format!(
                "while let Ok(Some(it)) = {end}.recv() {{ let reply = !*it.query(); let _ = it.reply(&reply); }}"
            )
        }
        Operation::StandBy => {
            format!("{name} = options().stand_by::<u8, u8, Bincode>(\"calls\", Duration::MAX).ok()")
        }
        Operation::Create => format!("{name} = options().create(\"name\").ok()"),
        Operation::CreatePrivate => format!("{name} = options().private().ok()"),
        Operation::Open => format!("{name} = options().open(\"name\").ok()"),
        Operation::OpenOrCreate => format!("{name} = options().open_or_create(\"name\").ok()"),
        Operation::OpenWrongly => {
            "let _ = options().schema(Schema::named(\"other\", 1)).open(\"name\")".to_owned()
        }
        Operation::Put => format!("let _ = {end}.sender().unwrap().try_send(&{id})"),
        Operation::Unlink => {
            let of = if scene == Scene::Names { "name" } else { "program" };
            format!("let _ = Channel::<u8>::unlink(\"{of}\")")
        }
        Operation::Ipcrm => {
            "MessageQueue::open(Name::from(\"program\").key().unwrap()).unwrap().remove().unwrap()"
                .to_owned()
        }
        Operation::Sweep => "let _ = control::sweep()".to_owned(),
        Operation::SweepAll => "let _ = control::sweep_all()".to_owned(),
        Operation::Start | Operation::Wait | Operation::Cancel => {
            unreachable!("printed with the call that was started")
        }
    }
}
