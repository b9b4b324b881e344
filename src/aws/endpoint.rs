//! Where the services answer.

use aws_sdk_kms::config::endpoint as kms;
use aws_sdk_ssm::config::endpoint as ssm;
use aws_sdk_sts::config::endpoint as sts;
use url::Url;

use super::Aws;
use super::stream_url::is_aws;

/// A service that sessions have to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Systems Manager.
    Ssm,
    /// The message gateway.
    SsmMessages,
    /// Keys for encrypted sessions.
    Kms,
    /// Who the caller is.
    Sts,
    /// Containers.
    Ecs,
    /// Instances.
    Ec2,
}

impl Service {
    /// The name in hosts and signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::SsmMessages => "ssmmessages",
            Self::Kms => "kms",
            Self::Sts => "sts",
            Self::Ecs => "ecs",
            Self::Ec2 => "ec2",
        }
    }

    /// What stands before the operation in `X-Amz-Target`; none in services that know only forms.
    pub(super) fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Ssm | Self::SsmMessages => Some("AmazonSSM"),
            Self::Kms => Some("TrentService"),
            Self::Ecs => Some("AmazonEC2ContainerServiceV20141113"),
            Self::Sts | Self::Ec2 => None,
        }
    }

    /// The version of the API, in forms.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Sts => "2011-06-15",
            _ => "2016-11-15",
        }
    }
}

/// Where a service answers.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Scheme, host and port.
    pub url: Url,
    /// It is not one of AWS's own hosts.
    pub is_custom: bool,
}

impl Aws {
    /// Where a service answers in a region, by the settings or by AWS's own rules.
    ///
    /// None if there are no such rules for the region, or if SSM is not AWS's and so nobody knows
    /// where its message gateway is.
    pub async fn endpoint(&self, service: Service, region: &str) -> Option<Endpoint> {
        let settings = &self.0.settings;
        let at_home = region == self.0.region;
        let configured = match service {
            Service::Ssm => settings.ssm_endpoint.clone(),
            Service::SsmMessages => {
                let own = settings.ssm_endpoint.as_ref();
                if own.is_some_and(|own| !is_of_aws(own)) {
                    return None;
                }
                None
            }
            Service::Kms => settings.kms_endpoint.clone(),
            Service::Sts => settings.sts_endpoint.clone(),
            Service::Ecs => settings.configured_endpoint("ecs").ok()?,
            Service::Ec2 => settings.configured_endpoint("ec2").ok()?,
        };
        // An endpoint of AWS is one of its region.
        let configured = configured.filter(|url| at_home || !is_of_aws(url));
        let url = match configured {
            Some(url) => url,
            None => self.usual_endpoint(service, region).await?,
        };
        let url = Url::parse(&url).ok()?;
        let is_custom = !url.host_str().is_some_and(is_aws);
        Some(Endpoint { url, is_custom })
    }

    async fn usual_endpoint(&self, service: Service, region: &str) -> Option<String> {
        let (fips, dual_stack) = (self.0.settings.fips, self.0.settings.dual_stack);
        macro_rules! resolve {
            ($module:ident) => {{
                use $module::ResolveEndpoint as _;
                let params = $module::Params::builder()
                    .region(region)
                    .use_fips(fips)
                    .use_dual_stack(dual_stack)
                    .build()
                    .ok()?;
                let resolver = $module::DefaultResolver::new();
                let found = resolver.resolve_endpoint(&params).await.ok()?;
                Some(found.url().to_owned())
            }};
        }
        match service {
            Service::Ssm => resolve!(ssm),
            Service::Kms => resolve!(kms),
            Service::Sts => resolve!(sts),
            // They follow the same rules, as far as that goes.
            Service::SsmMessages | Service::Ecs | Service::Ec2 => {
                let url: String = resolve!(ssm)?;
                Some(url.replacen("//ssm", &format!("//{}", service.name()), 1))
            }
        }
    }
}

fn is_of_aws(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_aws))
}
