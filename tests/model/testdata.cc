#include "tests/model/testdata.h"

#include <zlib.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "core/hex.h"

namespace mptd::model {
namespace {

template <typename T>
T Checked(const absl::StatusOr<T>& value) {
  if (!value.ok()) throw std::runtime_error("test vector: " + std::string(value.status().message()));
  return *value;
}

// The file's bytes; gzread passes on what is not gzip'd as it is.
std::string ReadFile(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (file == nullptr) throw std::runtime_error("cannot open " + path);
  std::string out;
  char buffer[1 << 16];
  int got = 0;
  while ((got = gzread(file.get(), buffer, sizeof buffer)) > 0) out.append(buffer, static_cast<size_t>(got));
  if (got < 0) throw std::runtime_error("cannot read " + path);
  return out;
}

}  // namespace

std::string TestdataPath(std::string_view name) {
  const char* folder = std::getenv("MPTD_TESTDATA");
  return std::string(folder != nullptr ? folder : MPTD_TESTDATA_DEFAULT) + "/" + std::string(name);
}

nlohmann::json LoadJson(std::string_view name) { return nlohmann::json::parse(ReadFile(TestdataPath(name))); }

Bytes BytesOf(const nlohmann::json& hex) { return Checked(FromHex(hex.get<std::string>())); }

Hash HashOf(const nlohmann::json& hex) { return Checked(HashFromHex(hex.get<std::string>())); }

U256 QuantityOf(const nlohmann::json& hex) {
  const auto text = hex.get<std::string>();
  return text == "0x" ? U256{} : Checked(ParseQuantity(text));
}

Hash SlotOf(std::string_view hex) { return Hash{Checked(ParseQuantity(hex)).be}; }

NaiveState StateOf(const nlohmann::json& accounts) {
  NaiveState out;
  for (const auto& [address, fields] : accounts.items()) {
    NaiveAccount& account = out.accounts[Checked(AddressFromHex(address))];
    if (fields.contains("nonce")) account.nonce = Checked(ParseUint64(fields["nonce"].get<std::string>()));
    if (fields.contains("balance")) account.balance = QuantityOf(fields["balance"]);
    if (fields.contains("code")) account.code = BytesOf(fields["code"]);
    if (!fields.contains("storage")) continue;
    for (const auto& [slot, value] : fields["storage"].items()) account.storage[SlotOf(slot)] = QuantityOf(value);
  }
  return out;
}

}  // namespace mptd::model
