//! The regions of AWS, by partition: which credentials are good for which regions.

/// Regions of each partition; those that have to be opted into are among them.
const PARTITIONS: [&[&str]; 5] = [
    &[
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-south-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-central-1",
        "ca-west-1",
        "eu-central-1",
        "eu-central-2",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    ],
    &["cn-north-1", "cn-northwest-1"],
    &["us-gov-east-1", "us-gov-west-1"],
    &["us-iso-east-1", "us-iso-west-1"],
    &["us-isob-east-1", "us-isob-west-1"],
];

/// All regions that are known here.
pub fn regions() -> Vec<&'static str> {
    PARTITIONS.concat()
}

/// All regions in the partition of `region`, itself included even where it is not known here.
pub fn regions_beside(region: &str) -> Vec<&str> {
    let partition = PARTITIONS.iter().find(|regions| regions.contains(&region));
    match partition {
        Some(regions) => regions.to_vec(),
        // Younger than this list. Other partitions have names of another kind.
        None if region.split('-').count() == 3 && !region.starts_with("cn-") => {
            let mut all = PARTITIONS.first().map_or(Vec::new(), |all| all.to_vec());
            all.push(region);
            all
        }
        None => vec![region],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_that_of_a_region() {
        assert!(regions_beside("eu-west-1").contains(&"us-east-1"));
        assert!(!regions_beside("eu-west-1").contains(&"cn-north-1"));
        assert_eq!(regions_beside("us-gov-west-1").len(), 2);
        assert!(regions_beside("eu-east-9").contains(&"eu-east-9"));
        assert!(regions_beside("eu-east-9").contains(&"us-west-2"));
        assert_eq!(regions_beside("us-isof-south-1"), ["us-isof-south-1"]);
    }
}
