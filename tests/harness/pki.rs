//! The cluster's certificate authority, and what it signs before there is a cluster.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Organisation, the way Kubernetes reads groups from a certificate.
const ORGANIZATION_OID: [u64; 4] = [2, 5, 4, 10];

/// A certificate authority in a directory; the API server, clients and kubelets all trust this one, as with kubeadm.
pub struct Pki {
    directory: PathBuf,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Pki {
    /// Makes the authority and the service account keys in `directory`.
    pub fn create(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name("kubernetes", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let key = KeyPair::generate()?;
        let ca_pem = params.self_signed(&key)?.pem();
        fs::write(directory.join("ca.crt"), &ca_pem)?;
        fs::write(directory.join("ca.key"), key.serialize_pem())?;
        let service_accounts = KeyPair::generate()?;
        fs::write(directory.join("sa.key"), service_accounts.serialize_pem())?;
        fs::write(directory.join("sa.pub"), service_accounts.public_key_pem())?;
        Ok(Self { directory, ca_pem, issuer: Issuer::new(params, key) })
    }

    /// The authority's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A file of this authority, such as `ca.crt`.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// A client certificate for a user in at most two groups.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        self.sign(distinguished_name(user, groups)?, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A serving certificate for names and addresses.
    pub fn server(&self, name: &str, dns_names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        let mut sans = Vec::new();
        for dns_name in dns_names {
            sans.push(SanType::DnsName((*dns_name).try_into()?));
        }
        sans.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        self.sign(distinguished_name(name, &[])?, sans, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn sign(
        &self,
        subject: DistinguishedName,
        sans: Vec<SanType>,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.subject_alt_names = sans;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` and gives their paths.
    pub fn write(&self, directory: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let paths = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        fs::write(&paths.0, &self.certificate)?;
        fs::write(&paths.1, &self.key)?;
        Ok(paths)
    }
}

/// A subject with a CN and at most two O values.
pub fn distinguished_name(common_name: &str, organizations: &[&str]) -> Result<DistinguishedName> {
    let mut name = DistinguishedName::new();
    // rcgen keeps one value for each type, and takes the same OID spelled out for another type.
    let types = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION_OID.to_vec())];
    if organizations.len() > types.len() {
        bail!("a client certificate of the harness holds at most {} groups", types.len());
    }
    for (kind, organization) in types.into_iter().zip(organizations) {
        name.push(kind, *organization);
    }
    name.push(DnType::CommonName, common_name);
    Ok(name)
}
