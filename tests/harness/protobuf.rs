//! Objects as kubelets send them: in Kubernetes' protobuf, whose strings may be any bytes.

/// The media type of [`object`].
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A field that holds a text, or another message.
pub fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        bytes.push(lowest_byte(length) | 0x80);
        length >>= 7;
    }
    bytes.push(lowest_byte(length));
    bytes.extend_from_slice(value);
    bytes
}

fn lowest_byte(number: usize) -> u8 {
    let [lowest, ..] = number.to_le_bytes();
    lowest
}

/// A message of these fields.
pub fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(number, value)| field(*number, value)).collect()
}

/// A whole object around its message (k8s.io/apimachinery/pkg/runtime `Unknown`).
pub fn object(api_version: &str, kind: &str, content: &[u8]) -> Vec<u8> {
    let types = message(&[(1, api_version.as_bytes()), (2, kind.as_bytes())]);
    [b"k8s\0".to_vec(), message(&[(1, &types), (2, content)])].concat()
}
