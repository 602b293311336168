//! IPv4 networks and hardware addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network: the address has no bits outside the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Net {
    address: Ipv4Addr,
    prefix_len: u8,
}

/// Not an IPv4 network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an IPv4 network: want ADDRESS/LENGTH with no bits set after the prefix")]
pub struct InvalidNet {
    text: String,
}

impl Ipv4Net {
    /// The network of `prefix_len` bits that starts at `address`.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if the prefix is longer than 32 or `address` has bits set beyond it.
    pub fn new(address: Ipv4Addr, prefix_len: u8) -> Result<Self, InvalidNet> {
        let net = Self {
            address,
            prefix_len,
        };
        if prefix_len <= 32 && address.to_bits() & !net.mask() == 0 {
            Ok(net)
        } else {
            Err(InvalidNet {
                text: format!("{address}/{prefix_len}"),
            })
        }
    }

    /// The network that `address` is in.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if the prefix is longer than 32.
    pub fn containing(address: Ipv4Addr, prefix_len: u8) -> Result<Self, InvalidNet> {
        let masked = Ipv4Addr::from_bits(address.to_bits() & mask(prefix_len));
        Self::new(masked, prefix_len)
    }

    /// The first address, which names the network.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// How many leading bits all its addresses share.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The mask as a number.
    #[must_use]
    pub fn mask(&self) -> u32 {
        mask(self.prefix_len)
    }

    /// The last address.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask())
    }

    /// The first address a machine can have; rocker gives it to the bridge.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | 1)
    }

    /// Whether `address` is in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.address.to_bits()
    }

    /// Whether any address is in both networks.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

fn mask(prefix_len: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix_len.min(32)))
        .unwrap_or(0)
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Ipv4Net {
    type Err = InvalidNet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNet {
            text: text.chars().take(64).collect(),
        };
        let (address, length) = text.split_once('/').ok_or_else(invalid)?;
        // u8's parser takes a plus sign.
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let address = address.parse().map_err(|_| invalid())?;
        let prefix_len = length.parse().map_err(|_| invalid())?;
        Self::new(address, prefix_len).map_err(|_| invalid())
    }
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address that Docker too derives from an IPv4 address: `02:42` and its four bytes.
    ///
    /// Unique wherever the IPv4 address is, and a restarted container that keeps its address
    /// leaves no stale entry in anyone's neighbour table.
    #[must_use]
    pub const fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The six bytes.
    #[must_use]
    pub const fn octets(&self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_a_length_without_loose_bits() {
        let cases = [
            ("10.88.0.0/16", true),
            ("0.0.0.0/0", true),
            ("192.168.1.7/32", true),
            ("10.88.0.1/16", false),
            ("10.88.0.0/33", false),
            ("10.88.0.0/+16", false),
            ("10.88.0.0/", false),
            ("10.88.0.0", false),
            ("10.88.0/16", false),
            ("fd00::/8", false),
        ];
        for (text, valid) in cases {
            assert_eq!(text.parse::<Ipv4Net>().is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let cases = [
            ("10.0.0.0/8", "10.88.0.0/16", true),
            ("10.88.0.0/16", "10.0.0.0/8", true),
            ("10.88.0.0/16", "10.89.0.0/16", false),
            ("0.0.0.0/0", "10.89.0.0/16", true),
        ];
        for (a, b, expected) in cases {
            assert_eq!(net(a).overlaps(&net(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn first_and_last_addresses_of_a_network_are_its_own() {
        let net: Ipv4Net = "10.88.0.0/16".parse().unwrap();

        assert_eq!(net.gateway(), Ipv4Addr::new(10, 88, 0, 1));
        assert_eq!(net.broadcast(), Ipv4Addr::new(10, 88, 255, 255));
        assert!(net.contains(net.broadcast()) && !net.contains(Ipv4Addr::new(10, 89, 0, 0)));
    }

    #[test]
    fn hardware_addresses_are_local_unicast_and_follow_the_ipv4_address() {
        let mac = Mac::of(Ipv4Addr::new(10, 88, 0, 255));

        assert_eq!(mac.to_string(), "02:42:0a:58:00:ff");
        assert_eq!(mac.octets()[0] & 0b11, 0b10);
    }
}
