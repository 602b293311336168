//! Tar archives from bytes that a fuzzer made up.

const BLOCK: usize = 512;

/// The archive with right checksums in its headers, which no fuzzer would find by itself.
pub(crate) fn mended(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        at += BLOCK;
        if header.iter().any(|byte| *byte != 0) {
            set_checksum(header);
            at += data_blocks(header) * BLOCK;
        }
    }
    tar
}

fn set_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// How many blocks of data follow, as far as they can matter here.
fn data_blocks(header: &[u8]) -> usize {
    if matches!(header[156], b'1'..=b'6') {
        return 0;
    }
    let digits = header[124..136].iter().skip_while(|byte| **byte == b' ');
    let digits = digits.take_while(|byte| matches!(**byte, b'0'..=b'7'));
    let size = digits.fold(0_usize, |size, digit| {
        size.saturating_mul(8)
            .saturating_add(usize::from(digit - b'0'))
    });
    size.min(1 << 24).div_ceil(BLOCK)
}

/// Appends a member with these names and this data.
pub(crate) fn append(tar: &mut Vec<u8>, typeflag: u8, name: &[u8], link: &[u8], data: &[u8]) {
    let mut header = [0; BLOCK];
    put(&mut header[..100], name);
    put(
        &mut header[100..108],
        if typeflag == b'5' {
            b"0000755"
        } else {
            b"0000644"
        },
    );
    put(&mut header[108..116], b"0000000");
    put(&mut header[116..124], b"0000000");
    put(
        &mut header[124..136],
        format!("{:011o}", data.len()).as_bytes(),
    );
    put(&mut header[136..148], b"14000000000");
    header[156] = typeflag;
    put(&mut header[157..257], link);
    put(&mut header[257..265], b"ustar\x0000");
    put(&mut header[329..337], b"0000001");
    put(&mut header[337..345], b"0000003");
    set_checksum(&mut header);
    tar.extend(header);
    tar.extend(data);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Ends the archive.
pub(crate) fn finish(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 2 * BLOCK, 0);
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}
