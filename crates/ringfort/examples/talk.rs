//! Joins a group, says hello, and prints what the others say.
//!
//! `cargo run --release -p ringfort --example talk -- demo/group.toml ana`, with the password in `RINGFORT_PASSWORD`.

use ringfort::{Credentials, Event, Group};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(user)) = (args.next(), args.next()) else {
        return Err("usage: talk GROUP.TOML USER".into());
    };
    let password = std::env::var("RINGFORT_PASSWORD")?;

    let (group, mut events) = Group::join(file, Credentials::password(&user, password)?).await?;
    println!("in the group with {:?}", group.members());
    group.multicast("chat", b"hello, everybody").await?;

    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => {
                println!("{}: {}", message.sender, String::from_utf8_lossy(&message.payload));
                if message.recipients.is_empty() && message.payload.starts_with(b"hello") {
                    group.send_to(&[message.sender], "chat", b"hello to you alone").await?;
                }
            }
            Event::View { joined, left, .. } => println!("came: {joined:?}, went: {left:?}"),
            Event::Confirmation(now) => println!("who is in the group is {}", now.word()),
            Event::Ended(cause) => println!("the stay has ended: {cause:?}"),
            _ => {}
        }
    }
    Ok(())
}
