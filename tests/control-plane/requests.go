package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	capi "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	capihelper "k8s.io/kubernetes/pkg/apis/certificates"
	"k8s.io/kubernetes/pkg/controller/certificates/authority"
)

// filed is what the controller manager looks at in a CertificateSigningRequest.
type filed struct {
	Request []byte          `json:"request"`
	Usages  []capi.KeyUsage `json:"usages"`
}

// reading is what the controller manager reads a request as, and what its signer makes of it.
type reading struct {
	// Why it cannot be read.
	Error string `json:"error,omitempty"`
	Names *names `json:"names,omitempty"`
	// The extensions asked for, by their object identifiers.
	Extensions []string `json:"extensions,omitempty"`
	// Why the signer for kubelet-serving certificates refuses it.
	Refused string `json:"refused,omitempty"`
	// The names in the certificate, where it is not refused.
	Issued *names `json:"issued,omitempty"`
}

// names is whom a request or a certificate speaks of.
type names struct {
	CommonName   string   `json:"commonName"`
	Organization []string `json:"organization"`
	// The relative distinguished names, each a list of attributes as "type=value".
	Subject        [][]string `json:"subject"`
	DNSNames       []string   `json:"dnsNames"`
	IPAddresses    []string   `json:"ipAddresses"` // in hexadecimal
	EmailAddresses []string   `json:"emailAddresses"`
	URIs           []string   `json:"uris"`
}

// runReadRequests reads requests, a JSON object a line, and prints a reading for each: with the functions that
// kube-controller-manager calls in pkg/controller/certificates/signer, in their order.
func runReadRequests() int {
	if err := readRequests(); err != nil {
		return fail("read-requests", err)
	}
	return 0
}

func readRequests() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	input, output := json.NewDecoder(bufio.NewReader(os.Stdin)), bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(output)
	for input.More() {
		var request filed
		if err := input.Decode(&request); err != nil {
			return err
		}
		answer, err := read(request, ca)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return output.Flush()
}

// read is the signer's handle, with the answer in place of the API server.
func read(request filed, ca *authority.CertificateAuthority) (reading, error) {
	parsed, err := capihelper.ParseCSR(request.Request)
	if err != nil {
		return reading{Error: err.Error()}, nil
	}
	asked, err := namesOf(parsed.RawSubject, parsed.Subject, parsed.DNSNames, parsed.IPAddresses)
	if err != nil {
		return reading{}, err
	}
	asked.EmailAddresses = parsed.EmailAddresses
	for _, uri := range parsed.URIs {
		asked.URIs = append(asked.URIs, uri.String())
	}
	answer := reading{Names: asked}
	for _, extension := range parsed.Extensions {
		answer.Extensions = append(answer.Extensions, extension.Id.String())
	}
	usages := sets.NewString()
	for _, usage := range request.Usages {
		usages.Insert(string(usage))
	}
	if err := capihelper.ValidateKubeletServingCSR(parsed, usages); err != nil {
		answer.Refused = err.Error()
		return answer, nil
	}
	policy := authority.PermissiveSigningPolicy{TTL: time.Hour, Usages: request.Usages, Backdate: 5 * time.Minute, Short: 8 * time.Hour}
	der, err := ca.Sign(parsed.Raw, policy)
	if err != nil {
		answer.Refused = err.Error()
		return answer, nil
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		answer.Refused = fmt.Sprintf("the certificate cannot be read: %v", err)
		return answer, nil
	}
	answer.Issued, err = namesOf(certificate.RawSubject, certificate.Subject, certificate.DNSNames, certificate.IPAddresses)
	if err != nil {
		return reading{}, err
	}
	answer.Issued.EmailAddresses = certificate.EmailAddresses
	for _, uri := range certificate.URIs {
		answer.Issued.URIs = append(answer.Issued.URIs, uri.String())
	}
	return answer, nil
}

func namesOf(raw []byte, subject pkix.Name, dnsNames []string, addresses []net.IP) (*names, error) {
	read := &names{CommonName: subject.CommonName, Organization: subject.Organization, DNSNames: dnsNames}
	var sequence pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &sequence); err != nil {
		return nil, fmt.Errorf("crypto/x509 has taken a subject that encoding/asn1 does not: %w", err)
	}
	for _, set := range sequence {
		attributes := []string{}
		for _, attribute := range set {
			attributes = append(attributes, fmt.Sprintf("%v=%v", attribute.Type, attribute.Value))
		}
		read.Subject = append(read.Subject, attributes)
	}
	for _, address := range addresses {
		read.IPAddresses = append(read.IPAddresses, hex.EncodeToString(address))
	}
	return read, nil
}

func newAuthority() (*authority.CertificateAuthority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "read-requests"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority.CertificateAuthority{Certificate: certificate, PrivateKey: key}, nil
}
