//! EC2 Instance Connect: lets a public key in for a minute.

use super::Aws;
use super::error::{Call, Error, Kind, from_sdk};
use super::sdk::client;

impl Aws {
    /// Lets whoever has the private half of `key` (`TYPE BASE64`, as OpenSSH writes it) log in as
    /// `user` on an EC2 instance for the next 60 seconds. The endpoint is that of
    /// `AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT`, `AWS_ENDPOINT_URL` or the profile, never that of
    /// SSM.
    pub async fn send_ssh_public_key(
        &self,
        instance: &str,
        user: &str,
        key: &str,
    ) -> Result<(), Error> {
        let call = Call {
            what: &format!("cannot push the key for {user} to {instance}"),
            action: "ec2-instance-connect:SendSSHPublicKey",
        };
        self.prepare(call.what).await?;
        let answer = self
            .instance_connect()
            .send_ssh_public_key()
            .instance_id(instance)
            .instance_os_user(user)
            .ssh_public_key(key)
            .send()
            .await;
        match answer {
            Ok(answer) if answer.success => Ok(()),
            Ok(_) => Err(Error::new(
                Kind::Other,
                call.what,
                "EC2 Instance Connect did not take it, and does not say why",
            )),
            Err(error) => {
                let error = self.note(from_sdk(&call, &self.0.context, error)).await;
                let advice = error.code().and_then(|code| advice(call.action, code));
                Err(match advice {
                    Some(advice) => error.with_hint(advice),
                    None => error,
                })
            }
        }
    }

    /// Once in a process: not worth keeping.
    fn instance_connect(&self) -> aws_sdk_ec2instanceconnect::Client {
        client!(
            aws_sdk_ec2instanceconnect,
            self.sdk(self.0.settings.instance_connect_endpoint.as_ref())
        )
    }
}

/// What to do about errors that only this service has.
fn advice(action: &str, code: &str) -> Option<String> {
    Some(match code {
        "AuthException" => {
            format!("the caller's IAM policies must allow {action} on this instance for this user")
        }
        "EC2InstanceNotFoundException" => {
            "is the instance in this region and account? see --region and --profile".to_owned()
        }
        "EC2InstanceStateInvalidException" => "the instance must be running".to_owned(),
        "EC2InstanceUnavailableException" => {
            "EC2 cannot reach the instance at the moment: try again in a while".to_owned()
        }
        "InvalidArgsException" => {
            "EC2 Instance Connect takes RSA and Ed25519 keys, for users of the instance: check both, \
             or make a key with `ssh-keygen -t ed25519`"
                .to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_with_advice() {
        let cases = [
            ("AuthException", Some("SendSSHPublicKey")),
            ("EC2InstanceNotFoundException", Some("--region")),
            ("EC2InstanceStateInvalidException", Some("running")),
            ("InvalidArgsException", Some("ssh-keygen")),
            ("AccessDeniedException", None),
            ("ServiceException", None),
        ];
        for (code, expected) in cases {
            let hint = advice("ec2-instance-connect:SendSSHPublicKey", code);
            match expected {
                Some(part) => assert!(hint.is_some_and(|hint| hint.contains(part)), "{code}"),
                None => assert_eq!(hint, None, "{code}"),
            }
        }
    }
}
