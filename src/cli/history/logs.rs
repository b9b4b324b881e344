//! Where the log of a session is, as something to click on.

use url::form_urlencoded::byte_serialize;

use crate::aws::OutputUrl;
use crate::cli::output;

/// The logs that there are, as pages of the console where those are known.
pub fn links(urls: Option<&OutputUrl>, region: &str) -> Vec<String> {
    let places = urls.map(|urls| [&urls.s3, &urls.cloud_watch]);
    let places = places.into_iter().flatten().flatten();
    places
        .filter(|place| !place.is_empty())
        .map(|place| {
            let link = s3(place, region).or_else(|| cloud_watch(place));
            output::plain(&link.unwrap_or_else(|| place.clone()))
        })
        .collect()
}

/// `s3://BUCKET/KEY`; other partitions have other consoles.
fn s3(place: &str, region: &str) -> Option<String> {
    let (bucket, key) = place.strip_prefix("s3://")?.split_once('/')?;
    if region.starts_with("cn-") || region.starts_with("us-gov-") || region.starts_with("us-iso") {
        return None;
    }
    Some(format!(
        "https://{region}.console.aws.amazon.com/s3/object/{bucket}?region={region}&prefix={}",
        encoded(key)
    ))
}

/// `arn:aws:logs:REGION:ACCOUNT:log-group:GROUP:log-stream:STREAM`.
fn cloud_watch(place: &str) -> Option<String> {
    let rest = place.strip_prefix("arn:aws:logs:")?;
    let (region, rest) = rest.split_once(':')?;
    let (_, rest) = rest.split_once(":log-group:")?;
    let (group, stream) = match rest.split_once(":log-stream:") {
        Some((group, stream)) => (group, Some(stream)),
        None => (rest, None),
    };
    let group = group.trim_end_matches(":*");
    // The console decodes what is behind the # twice, with a $ for the %.
    let twice = |text: &str| encoded(&encoded(text)).replace('%', "$");
    let mut link = format!(
        "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}\
         #logsV2:log-groups/log-group/{}",
        twice(group)
    );
    if let Some(stream) = stream.filter(|stream| *stream != "*") {
        link.push_str(&format!("/log-events/{}", twice(stream)));
    }
    Some(link)
}

fn encoded(text: &str) -> String {
    let text: String = byte_serialize(text.as_bytes()).collect();
    text.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(s3: &str, cloud_watch: &str, region: &str) -> Vec<String> {
        let urls = OutputUrl {
            s3: Some(s3.to_owned()),
            cloud_watch: Some(cloud_watch.to_owned()),
        };
        links(Some(&urls), region)
    }

    #[test]
    fn logs_are_pages_of_the_console() {
        assert_eq!(
            link(
                "s3://logs/a/me 1.log",
                "arn:aws:logs:eu-west-1:1:log-group:/ssm/a:log-stream:me-1",
                "eu-west-1"
            ),
            [
                "https://eu-west-1.console.aws.amazon.com/s3/object/logs?region=eu-west-1&prefix=a%2Fme%201.log",
                "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Fssm$252Fa/log-events/me-1",
            ]
        );
        assert_eq!(
            link("", "arn:aws:logs:r:1:log-group:g:*", "r"),
            [
                "https://r.console.aws.amazon.com/cloudwatch/home?region=r#logsV2:log-groups/log-group/g"
            ]
        );
    }

    #[test]
    fn what_is_not_known_stays_and_moves_no_cursor() {
        let places = [
            "https://console/x",
            "s3://logs",
            "arn:aws-cn:logs:x",
            "\x1b[2J",
        ];
        for place in places {
            assert_eq!(link(place, "", "eu-west-1"), [output::plain(place)]);
        }
        assert_eq!(link("s3://b/k", "", "cn-north-1"), ["s3://b/k"]);
        assert!(links(None, "r").is_empty());
    }
}
