//! STS: who the caller is.

use super::Aws;
use super::error::{Call, Error, Kind, from_sdk};
use super::sdk::client;

impl Aws {
    /// The ARN of the caller, as it stands as the owner of sessions:
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/NAME` or `arn:aws:iam::ACCOUNT:user/NAME`.
    ///
    /// Nobody needs a permission for this.
    pub async fn caller_arn(&self) -> Result<String, Error> {
        let call = Call {
            what: "cannot ask who the caller is",
            action: "sts:GetCallerIdentity",
        };
        self.prepare(call.what).await?;
        match self.sts().get_caller_identity().send().await {
            Ok(answer) => answer
                .arn
                .filter(|arn| !arn.is_empty())
                .ok_or_else(|| Error::new(Kind::Other, call.what, "the answer has no ARN")),
            Err(error) => Err(self.note(from_sdk(&call, &self.0.context, error)).await),
        }
    }

    /// Once in a process: not worth keeping.
    fn sts(&self) -> aws_sdk_sts::Client {
        client!(aws_sdk_sts, self.sdk(self.0.settings.sts_endpoint.as_ref()))
    }
}
