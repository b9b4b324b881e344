//! EC2 Instance Connect.

use serde_json::{Value, json};
use ssmx::loopback::{Loopback, Options};

use super::client::{Signer, error, request, start};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA1bBzAxcQ8yoZJr3HjX9pH0lqXyYl2yJ8rVx5v1kT7C me@laptop";

fn push(loopback: &Loopback, input: &Value) -> (u16, Value) {
    let signer = Signer::of(loopback, "ec2-instance-connect");
    let operation = "AWSEC2InstanceConnectService.SendSSHPublicKey";
    request(loopback, Some(&signer), operation, input)
}

#[test]
fn a_pushed_key_is_authorized_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorized_keys");
    std::fs::write(&file, "ssh-rsa before\n").unwrap();
    let loopback = start(Options {
        authorized_keys: Some(file.clone()),
        ..Options::default()
    });
    let input = json!({
        "InstanceId": loopback.target(),
        "InstanceOSUser": "ec2-user",
        "SSHPublicKey": KEY,
    });
    let (status, answer) = push(&loopback, &input);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["Success"], true);
    assert!(answer["RequestId"].is_string());
    let authorized = std::fs::read_to_string(&file).unwrap();
    assert!(authorized.lines().any(|line| line.starts_with(KEY)));
    let pushed = &loopback.stats().pushed_keys[0];
    assert_eq!(
        (&*pushed.user, &*pushed.key, &*pushed.instance),
        ("ec2-user", KEY, loopback.target())
    );

    let refused = |key: &str, value: &str| {
        let mut input = input.clone();
        input[key] = json!(value);
        error(push(&loopback, &input))
    };
    let unknown = refused("InstanceId", "i-0123456789abcdef0");
    assert_eq!(unknown, "EC2InstanceNotFoundException");
    for (key, value) in [
        ("InstanceId", "mi-10000000000000003"),
        ("InstanceOSUser", "a b"),
        ("InstanceOSUser", ""),
        ("SSHPublicKey", "ssh-ed25519 short"),
        ("SSHPublicKey", &format!("{KEY}\n{KEY}")),
    ] {
        assert_eq!(refused(key, value), "InvalidArgsException", "{key} {value}");
    }
    drop(loopback);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ssh-rsa before\n");
}
