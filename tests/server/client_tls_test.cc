// https from the client's side: a certificate must come from an authority that is trusted, and name the host.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

#include "apps/server/client/http_client.h"
#include "tests/base/expect_error.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

template <typename T, void (*Free)(T*)>
struct Freed {
  void operator()(T* object) const { Free(object); }
};

// Signed by itself, for `names` ("DNS:localhost").
void write_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key_file, const char* names) {
  const std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>> key(EVP_EC_gen("P-256"));
  const std::unique_ptr<X509, Freed<X509, X509_free>> x509(X509_new());
  X509_set_version(x509.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
  X509_set_pubkey(x509.get(), key.get());
  X509_NAME* name = X509_get_subject_name(x509.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(x509.get(), name);
  X509V3_CTX context;
  X509V3_set_ctx(&context, x509.get(), x509.get(), nullptr, nullptr, 0);
  for (const auto& [nid, value] : {std::pair{NID_subject_alt_name, names}, {NID_basic_constraints, "critical,CA:TRUE"}}) {
    const std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION, X509_EXTENSION_free>> extension(
        X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    ASSERT_NE(extension, nullptr);
    X509_add_ext(x509.get(), extension.get(), -1);
  }
  ASSERT_GT(X509_sign(x509.get(), key.get(), EVP_sha256()), 0);
  std::FILE* file = std::fopen(certificate.c_str(), "w");
  PEM_write_X509(file, x509.get());
  std::fclose(file);
  file = std::fopen(key_file.c_str(), "w");
  PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
}

class ClientTls : public ServerTest {
 protected:
  ClientTls() {
    options.tls_certificate = (files.directory / "cert.pem").string();
    options.tls_key = (files.directory / "key.pem").string();
  }
  ~ClientTls() override { ::unsetenv("SSL_CERT_FILE"); }

  HttpReply health(const std::string& host, bool trusted) const {
    trusted ? ::setenv("SSL_CERT_FILE", options.tls_certificate.c_str(), 1) : ::unsetenv("SSL_CERT_FILE");
    ServiceClient client(parse_url("https://" + host + ":" + std::to_string(server->port())), {});
    HttpCall call;
    call.target = "/health";
    client.call(call);
    return client.call(call);  // on the connection that was kept
  }
};

TEST_F(ClientTls, ChecksAuthorityAndName) {
  write_certificate(options.tls_certificate, options.tls_key, "DNS:localhost");
  start();
  EXPECT_EQ(health("localhost", true).body, R"({"status":"ok"})");
  EXPECT_GS_ERROR(health("localhost", false), ErrorCode::kUnavailable, "the certificate does not hold (self-signed certificate)");
  EXPECT_GS_ERROR(health("127.0.0.1", true), ErrorCode::kUnavailable, "the certificate does not hold (IP address mismatch)");
}

TEST_F(ClientTls, AddressesCanBeNamedToo) {
  write_certificate(options.tls_certificate, options.tls_key, "IP:127.0.0.1");
  start();
  EXPECT_EQ(health("127.0.0.1", true).status, 200);
  EXPECT_GS_ERROR(health("localhost", true), ErrorCode::kUnavailable, "hostname mismatch");
  ServiceClient plain(parse_url("http://127.0.0.1:" + std::to_string(server->port())), {});
  EXPECT_GS_ERROR(plain.call({}), ErrorCode::kUnavailable, "127.0.0.1");
}

}  // namespace
}  // namespace gritstone
