//! Each rule that is weakened is noticed by its play, and the play finds nothing while all rules hold.

use ringfort_agreement::Rule;
use ringfort_agreement_sim::plays;

#[test]
fn a_weakened_rule_is_noticed_and_the_whole_set_is_not() {
    let mut wrong = Vec::new();
    for rule in Rule::ALL {
        match plays::complaint(rule, Some(rule)) {
            Some(complaint) => println!("{rule:?}: {complaint}"),
            None => wrong.push(format!("no play notices that {rule:?} is missing")),
        }
        if let Some(complaint) = plays::complaint(rule, None) {
            wrong.push(format!("the play of {rule:?} finds fault with all rules: {complaint}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
