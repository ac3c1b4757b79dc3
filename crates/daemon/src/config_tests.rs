#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::settings::Allowed;

/// The documented file with its values switched on.
fn switched_on() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(value) if !value.starts_with(' ') && !value.is_empty() && !value.ends_with("= \"\"") => value.to_owned(),
        _ => line.to_owned(),
    };
    Config::documented().lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_file_is_the_defaults() {
    let text = switched_on();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let mut values = 0;
    for section in Config::default().sections() {
        for setting in &section.settings {
            let in_file = table[section.name].get(setting.key);
            assert_eq!(in_file.map(ToString::to_string), setting.value, "[{}] {}", section.name, setting.key);
            assert!(setting.fits, "the default of [{}] {} is not allowed", section.name, setting.key);
            assert!(setting.about.iter().map(|line| line.len()).sum::<usize>() > 5, "{} says nothing", setting.key);
            values += usize::from(in_file.is_some());
        }
    }
    assert!(values >= 37, "{values} values only");
    assert_eq!(Config::parse(&text).unwrap(), Config::default());
    assert_eq!(Config::parse(&Config::documented()).unwrap(), Config::default());
    assert!(Config::documented().lines().all(|line| line.len() <= 125));
}

#[test]
fn the_defaults_are_those_of_the_driver() {
    assert_eq!(Config::default().options(None), LeaderOptions::default());
}

#[test]
fn each_end_of_each_range_holds() {
    for section in Config::default().sections() {
        for setting in &section.settings {
            let set = |value: &str| Config::parse(&format!("[{}]\n{} = {value}", section.name, setting.key));
            let name = format!("[{}] {}", section.name, setting.key);
            match setting.allowed {
                Allowed::Range(low, high) => {
                    let refused = |number: u64| {
                        let told = set(&number.to_string()).unwrap_err();
                        assert!(told.contains(&name) && told.contains(&format!("{low} to {high}")), "{told}");
                    };
                    low.checked_sub(1).into_iter().for_each(refused);
                    refused(high + 1);
                    assert!(set("-1").is_err() && set("\"many\"").is_err(), "{name}");
                    // What else stands in the way at an end is another rule, told in its own words.
                    for end in [low, high] {
                        assert!(set(&end.to_string()).map_or_else(|told| !told.contains("not allowed"), |_| true));
                    }
                }
                Allowed::Words(words) => {
                    assert!(set("\"else\"").is_err() && set("[\"else\"]").is_err(), "{name}");
                    let taken = |word: &&str| set(&format!("{word:?}")).or_else(|_| set(&format!("[{word:?}]")));
                    words.iter().for_each(|word| assert!(taken(word).is_ok(), "{name} = {word}"));
                }
                Allowed::YesNo => assert!(set("true").is_ok() && set("false").is_ok() && set("1").is_err(), "{name}"),
                Allowed::Form(_) => assert!(set("7").is_err() && set("").is_err(), "{name}"),
            }
        }
    }
}

#[test]
fn mistakes_are_told() {
    let told = |text: &str, part: &str| {
        let error = Config::parse(text).unwrap_err();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    };
    told("[limits]\nconections_max = 5", "conections_max");
    told("[limit]\n", "limit");
    told("x = 1", "`ringfort leader config`");
    told("[limits]\nhandshake_timeout_ms = 20000", "below handshake_timeout_ms");
    told("[limits]\nunauthenticated_max = 8", "per_address_max is above");
    told("[limits]\nframe_unauthenticated_bytes_max = 65536", "two frames");
    told("[limits]\nframe_bytes_max = 67108864", "a queue is below");
    told("[status]\nhttp = \"9740\"", "not an address with a port");
    told("[status]\nhttp = \"0.0.0.0:9740\"", "http_anywhere = true");
    assert!(Config::parse("[status]\nhttp = \"0.0.0.0:9740\"\nhttp_anywhere = true").is_ok());
    told("[hooks]\non_suspicion = [\"alarm\"]", "whole path");
}

#[test]
fn a_named_file_must_be_there_and_the_folders_own_need_not() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Config::read(folder.path(), None).unwrap().0, Config::default());
    let named = folder.path().join("other.toml");
    let error = Config::read(folder.path(), Some(&named)).unwrap_err();
    assert!(error.unreadable && error.to_string().contains("check the path"), "{error}");
    std::fs::write(folder.path().join(CONFIG_FILE), "[periods]\ninbox_ms = 60\n").unwrap();
    let (config, path) = Config::read(folder.path(), None).unwrap();
    assert_eq!((config.periods.inbox_ms, path), (60, folder.path().join(CONFIG_FILE)));
    std::fs::write(&named, vec![b'#'; 70_000]).unwrap();
    assert!(Config::read(folder.path(), Some(&named)).unwrap_err().to_string().contains("longer than"));
}
