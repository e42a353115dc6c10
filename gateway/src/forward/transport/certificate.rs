//! When a certificate ends.
//!
//! Promises: the end of validity of a well-formed X.509 certificate, and nothing for anything else. Never: a
//! judgement whether a certificate is good; that is rustls'.

use jiff::civil::DateTime;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970 at which the first certificate of a PEM file ends.
#[must_use]
pub fn ends_s(pem: &[u8]) -> Option<i64> {
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, certificate, _) = element(&certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    let (tag, _, behind) = element(rest)?;
    if tag == VERSION {
        rest = behind;
    }
    // Serial number, signature algorithm, issuer; then the validity.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (tag, validity, _) = element(rest)?;
    let (_, _, behind) = element(validity)?;
    let (time_tag, time, _) = element(behind)?;
    (tag == SEQUENCE).then(|| time_s(time_tag, time))?
}

/// Tag, content and what is behind a DER element.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let len = digits
                .iter()
                .fold(0_usize, |len, byte| (len << 8) | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(len)?;
    Some((tag, content, behind))
}

/// `YYMMDDhhmmssZ`, with years until 2049, or `YYYYMMDDhhmmssZ`.
fn time_s(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC_TIME => {
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    let zoned = jiff::tz::TimeZone::UTC.to_zoned(time).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["truck-001".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 3, 4);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem().into_bytes()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        assert_eq!(ends_s(&pem(2027)), Some(1_804_118_400));
        // From 2050 on the time has four digits of year.
        assert_eq!(ends_s(&pem(2060)), Some(2_845_584_000));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(ends_s(b""), None);
        assert_eq!(
            ends_s(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
            None
        );
        let whole = pem(2027);
        let der = CertificateDer::pem_slice_iter(&whole)
            .next()
            .unwrap()
            .unwrap();
        for len in 0..der.len().min(120) {
            assert!(element(&der[..len]).is_none());
        }
    }
}
