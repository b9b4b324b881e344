//! Who issued a certificate: as much of X.509 as that takes.

/// The issuer of a certificate, as far as it says; both texts are one clean line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuer {
    /// Its organization (O), such as `Amazon`.
    pub organization: Option<String>,
    /// Its common name (CN), such as `Amazon RSA 2048 M01`.
    pub common_name: Option<String>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
/// `[0]`, which holds the version.
const VERSION: u8 = 0xa0;
/// UTF8String, PrintableString, T61String and IA5String: near enough to UTF-8 to be shown.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// The longest text that is shown, in characters.
const SHOWN: usize = 80;

impl Issuer {
    /// Reads the issuer of a DER certificate; nothing of it if it is malformed.
    pub(super) fn of(certificate: &[u8]) -> Self {
        let mut issuer = Self::default();
        if let Some(names) = names(certificate) {
            issuer.read(names);
        }
        issuer
    }

    /// Takes over what a `Name` says.
    fn read(&mut self, mut names: &[u8]) {
        while let Some((tag, mut set, rest)) = element(names) {
            names = rest;
            while tag == SET
                && let Some((tag, attribute, rest)) = element(set)
            {
                set = rest;
                if tag == SEQUENCE
                    && let Some((OBJECT, kind, value)) = element(attribute)
                    && let Some((tag, text, _)) = element(value)
                    && TEXTS.contains(&tag)
                {
                    let text = || Some(clean(text));
                    match kind {
                        COMMON_NAME => self.common_name = text(),
                        ORGANIZATION => self.organization = text(),
                        _ => {}
                    }
                }
            }
        }
    }
}

impl std::fmt::Display for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.organization, &self.common_name) {
            (Some(organization), Some(name)) if organization != name => {
                write!(f, "{organization} ({name})")
            }
            (Some(name), _) | (None, Some(name)) => f.write_str(name),
            (None, None) => f.write_str("an issuer without a name"),
        }
    }
}

/// The contents of the issuer's `Name`.
fn names(certificate: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, certificate, _) = element(certificate)? else {
        return None;
    };
    let (SEQUENCE, mut fields, _) = element(certificate)? else {
        return None;
    };
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, algorithm of the signature, issuer.
    let (INTEGER, _, fields) = element(fields)? else {
        return None;
    };
    let (SEQUENCE, _, fields) = element(fields)? else {
        return None;
    };
    match element(fields)? {
        (SEQUENCE, names, _) => Some(names),
        _ => None,
    }
}

/// The first element: its tag, its contents, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let value = |sum: usize, digit: &u8| (sum << 8) | usize::from(*digit);
            (digits.iter().fold(0, value), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown: String = text.chars().take(SHOWN).collect();
    crate::text::plain(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, Issuer as Signer, KeyPair};

    fn certificate(organization: &str, name: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        let names = &mut params.distinguished_name;
        names.push(DnType::CommonName, name);
        names.push(DnType::OrganizationName, organization);
        let key = KeyPair::generate().expect("a key");
        let signer = Signer::new(params, key);
        let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &signer).expect("a certificate");
        made.der().to_vec()
    }

    #[test]
    fn the_issuer_is_found() {
        let issuer = Issuer::of(&certificate("Inspectors\u{1b} Ltd", "Corporate CA"));
        assert_eq!(issuer.to_string(), "Inspectors  Ltd (Corporate CA)");
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let good = certificate("O", "CN");
        for end in 0..good.len() {
            // The issuer stands in the first half; nothing may panic.
            let _ = Issuer::of(good.get(..end).expect("within"));
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = Issuer::of(&bad);
        }
        assert_eq!(Issuer::of(b""), Issuer::default());
        assert_eq!(Issuer::of(b"0\x84\xff\xff\xff\xff"), Issuer::default());
    }
}
