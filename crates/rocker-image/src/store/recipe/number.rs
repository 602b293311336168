//! Numbers of any size, small ones in few bytes: LEB128.

use std::io::{self, Read};

/// Appends `number` to `bytes`.
pub(super) fn push(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = (number & 0x7f).to_le_bytes()[0];
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// The next number of `source`.
///
/// # Errors
///
/// What `source` says; [`io::ErrorKind::InvalidData`] if the number is none that fits.
pub(super) fn read(source: &mut impl Read) -> io::Result<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = read_byte(source)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "a number does not fit",
    ))
}

/// The next byte of `source`.
pub(super) fn read_byte(source: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    source.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_number_survives(number in proptest::prelude::any::<u64>(), shift in 0u32..64) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            proptest::prop_assert_eq!(read(&mut bytes.as_slice()).unwrap(), number);
        }
    }

    #[test]
    fn numbers_that_are_too_large_or_cut_off_are_refused() {
        for bytes in [
            &[0xff; 10][..],
            &[0x80, 0x80],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert!(read(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }
}
