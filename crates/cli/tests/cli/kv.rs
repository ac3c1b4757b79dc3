//! The store that leaders keep for members.

use serde_json::{Value, json};

use super::process::{Said, finish, finish_with_input, ringfort, text};
use super::world::{ANA, BEN, World};

fn kv(world: &World, what: &str, (user, password): (&str, &str), more: &[&str]) -> std::process::Command {
    let group = world.group();
    let mut made = ringfort(&[&["kv", what, text(&group), "--user", user], more].concat());
    made.env("RINGFORT_PASSWORD", password);
    made
}

fn lines(said: Said) -> Vec<Value> {
    said.succeeded().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn members_put_read_list_and_delete_keys_also_with_one_leader_stopped() {
    let mut world = World::new("order = true\n");
    (1..=4).for_each(|number| world.start(number));
    let ask = |what, who, more: &[&str]| finish(kv(&world, what, who, more));
    assert_eq!(ask("put", ANA, &["colour", "red"]).succeeded(), "colour is put, at revision 2.\n");
    assert_eq!(ask("get", BEN, &["colour"]).succeeded(), "red", "exactly the bytes");
    ask("put", BEN, &["colour", "blue", "--expect", "7"]).failed(40, &["the key has changed", "has revision 2"]);
    ask("get", BEN, &["nothing"]).failed(40, &["the group's store has no key nothing"]);
    ask("put", BEN, &["", "x"]).failed(2, &["a key has 1 to 512 bytes"]);

    world.stop(2);
    let ask = |what, who, more: &[&str]| finish(kv(&world, what, who, more));
    let put = lines(ask("put", BEN, &["colour", "blue", "--expect", "2", "--json"]));
    assert_eq!(put, [json!({"event": "put", "key": "colour", "revision": 3})]);
    let binary = finish_with_input(kv(&world, "put", BEN, &["cold", "-"]), "two\nlines\n");
    assert_eq!(binary.succeeded(), "cold is put, at revision 4.\n");
    let listed = lines(ask("list", ANA, &["col", "--json"]));
    let shown = |line: &Value| (line["key"]["text"].clone(), line["value"]["text"].clone(), line["modified"].clone());
    assert_eq!(shown(&listed[0]), (json!("cold"), json!("two\nlines\n"), json!(4)));
    assert_eq!(shown(&listed[1]), (json!("colour"), json!("blue"), json!(3)));
    assert_eq!((&listed[1]["writer"], &listed[1]["version"], listed.len()), (&json!("ben"), &json!(2), 2));
    assert!(ask("list", ANA, &[]).succeeded().ends_with("\n2 keys.\n"));
    assert_eq!(ask("delete", ANA, &["cold"]).succeeded(), "cold is deleted.\n");
    assert_eq!(ask("delete", ANA, &["cold"]).succeeded(), "cold was not there.\n");
}

#[test]
fn several_keys_change_at_once_or_not_at_all() {
    let mut world = World::new("order = true\n");
    (1..=4).for_each(|number| world.start(number));
    let ask = |who, more: &[&str]| finish(kv(&world, "transact", who, more));
    let set = ["--if", "a=b=0", "--if", "valve=0", "--put", "valve=open=wide", "--put", "old=1", "--delete", "a=b"];
    let told = "valve is put, at revision 2.\nold is put, at revision 2.\na=b was not there.\n";
    assert_eq!(ask(ANA, &set).succeeded(), told);
    ask(BEN, &set).failed(40, &["nothing was done, because valve is not what `--if` says", "has revision 2"]);
    let guess = ["--if", "valve=2", "--if-value", "old=2", "--delete", "valve", "--json"];
    let said = ask(BEN, &guess);
    let line: Value = serde_json::from_str(said.out.trim()).unwrap();
    assert_eq!(line, json!({"event": "failed", "key": "old", "modified": 2}));
    said.failed(40, &["because old is not"]);
    let swap = ["--if", "valve=2", "--if-value", "old=1", "--put", "valve=shut", "--delete", "old", "--json"];
    let put = json!({"event": "put", "key": "valve", "revision": 3});
    let deleted = json!({"event": "deleted", "key": "old", "existed": true, "revision": 3});
    assert_eq!(lines(ask(BEN, &swap)), [put, deleted]);
    let get = ["--if", "valve=3", "--put", "new=x", "--get", "valve", "--get", "old", "--get", "new"];
    assert_eq!(ask(ANA, &get).succeeded(), "new is put, at revision 4.\nvalve: shut\nold is not there.\nnew: x\n");
    ask(ANA, &["--put", "a=1", "--delete", "a"]).failed(2, &["changes a key once"]);
    for wrong in [&["--if", "a=x", "--get", "b"][..], &["--put", "a"], &["--if", "a=1"]] {
        ask(ANA, wrong).failed_usage();
    }
}

#[test]
fn a_group_without_an_order_and_too_few_leaders_are_told() {
    let world = World::running(4);
    let said = finish(kv(&world, "get", ANA, &["colour"]));
    said.failed(21, &["its policy says `order = false`", "`order = true`"]);

    let mut world = World::new("order = true\n");
    (1..=4).for_each(|number| world.start(number));
    let _ben = world.listen(BEN, &[]);
    finish(kv(&world, "put", ANA, &["colour", "red"])).succeeded();
    (3..=4).for_each(|number| world.stop(number));
    let said = finish(kv(&world, "put", ANA, &["colour", "blue", "--timeout", "3"]));
    said.failed(22, &["could not join within 3 s"]);
}
