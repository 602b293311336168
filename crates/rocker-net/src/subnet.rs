//! Which addresses a bridge gets when nobody says.

use std::net::Ipv4Addr;

use crate::address::Ipv4Net;

/// Every candidate is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every candidate subnet for the bridge overlaps a route or address of this host")]
pub struct NoFreeSubnet;

impl rocker_types::Diagnose for NoFreeSubnet {
    fn kind(&self) -> rocker_types::ErrorKind {
        rocker_types::ErrorKind::Conflict
    }

    fn hint(&self) -> Option<String> {
        Some("free one, or use --network host".to_owned())
    }
}

/// The first candidate that overlaps none of `taken`: sixteen /16 of 10.0.0.0/8 apart from
/// Podman's (10.88, 10.89), then Docker's range from its far end, then /20 of 192.168.0.0/16.
///
/// Default routes are not "taken": leave networks shorter than two bits out, or every
/// candidate is.
///
/// # Errors
///
/// [`NoFreeSubnet`] if all are taken.
pub fn choose_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net, NoFreeSubnet> {
    candidates()
        .find(|candidate| !taken.iter().any(|net| net.overlaps(candidate)))
        .ok_or(NoFreeSubnet)
}

fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let tens = (120..136).map(|second| (Ipv4Addr::new(10, second, 0, 0), 16));
    let dockers = (16..32)
        .rev()
        .map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let homes = (0..16u8)
        .rev()
        .map(|third| (Ipv4Addr::new(192, 168, third * 16, 0), 20));
    tens.chain(dockers)
        .chain(homes)
        .filter_map(|(address, length)| Ipv4Net::new(address, length).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_candidate_is_taken() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let cases = [
            (vec![], Ok("10.120.0.0/16")),
            (vec!["10.120.7.0/24"], Ok("10.121.0.0/16")),
            (vec!["10.0.0.0/8"], Ok("172.31.0.0/16")),
            (vec!["10.0.0.0/8", "172.16.0.0/12"], Ok("192.168.240.0/20")),
            (
                vec!["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
                Err(NoFreeSubnet),
            ),
        ];
        for (taken, expected) in cases {
            let taken: Vec<Ipv4Net> = taken.into_iter().map(net).collect();
            assert_eq!(choose_subnet(&taken), expected.map(net), "{taken:?}");
        }
    }
}
