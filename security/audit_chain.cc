#include "security/audit_chain.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace mptd::security {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxText = 1000;
constexpr std::string_view kPrev = ",\"prev\":\"";
constexpr std::string_view kHash = ",\"hash\":\"";
constexpr std::string_view kEnd = "\"}";
// The reason of a torn entry: "<hash> of <n> bytes".
constexpr std::string_view kTornPrefix = "sha256:";

void AddText(const char* name, const std::string& text, Json& line) {
  if (!text.empty()) line[name] = text.substr(0, kMaxText);
}

bool IsDigits(std::string_view text) {
  return text.size() == kHashDigits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Takes `,"name":"<digits>` off the end of `text`.
std::optional<std::string_view> TakeHash(std::string_view name, std::string_view& text) {
  if (text.size() < name.size() + kHashDigits) return std::nullopt;
  const std::string_view digits = text.substr(text.size() - kHashDigits);
  text.remove_suffix(kHashDigits);
  if (!IsDigits(digits) || !text.ends_with(name)) return std::nullopt;
  text.remove_suffix(name.size());
  return digits;
}

}  // namespace

std::string Sha256Hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  // Fails only without memory; an empty digest matches no line.
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return "";
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

std::string SealLine(const AuditEntry& entry, AuditHead& head) {
  Json fields;
  fields["seq"] = head.seq + 1;
  fields["time"] = absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", entry.time, absl::UTCTimeZone());
  AddText("event", entry.event, fields);
  AddText("caller", entry.caller, fields);
  AddText("method", entry.method, fields);
  if (entry.block.has_value()) fields["block"] = *entry.block;
  AddText("root", entry.root, fields);
  AddText("code", entry.code, fields);
  AddText("reason", entry.reason, fields);
  AddText("peer", entry.peer, fields);
  AddText("certificate", entry.certificate, fields);
  AddText("request_id", entry.request_id, fields);
  // Callers may send any bytes; in the line they are ASCII.
  std::string line = fields.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  line.pop_back();  // the brace
  absl::StrAppend(&line, ",\"prev\":\"", head.hash, "\"");
  head = {.seq = head.seq + 1, .hash = Sha256Hex(line)};
  absl::StrAppend(&line, ",\"hash\":\"", head.hash, "\"}");
  return line;
}

std::optional<SealedLine> OpenLine(std::string_view line) {
  if (!line.starts_with("{\"seq\":") || !line.ends_with(kEnd)) return std::nullopt;
  std::string_view rest = line;
  rest.remove_suffix(kEnd.size());
  const auto hash = TakeHash(kHash, rest);
  if (!hash.has_value() || Sha256Hex(rest) != *hash || !rest.ends_with('"')) return std::nullopt;
  rest.remove_suffix(1);
  const auto prev = TakeHash(kPrev, rest);
  if (!prev.has_value()) return std::nullopt;
  const Json fields = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!fields.is_object() || !fields.contains("event") || !fields["event"].is_string()) return std::nullopt;
  if (!fields.contains("seq") || !fields["seq"].is_number_unsigned()) return std::nullopt;
  SealedLine out{.seq = fields["seq"].get<uint64_t>(),
                 .prev = std::string(*prev),
                 .hash = std::string(*hash),
                 .event = fields["event"].get<std::string>(),
                 .torn_hash = {}};
  if (out.event == kTornEvent && fields.contains("reason") && fields["reason"].is_string()) {
    const std::string reason = fields["reason"].get<std::string>();
    if (reason.starts_with(kTornPrefix)) out.torn_hash = reason.substr(kTornPrefix.size(), kHashDigits);
  }
  return out;
}

AuditEntry TornEntry(absl::Time time, std::string_view torn) {
  return {.time = time,
          .event = std::string(kTornEvent),
          .reason = absl::StrCat("sha256:", Sha256Hex(torn), " of ", torn.size(), " bytes that are no line")};
}

}  // namespace mptd::security
