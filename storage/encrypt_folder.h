// Makes encrypted data of a copy of data that is not.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "storage/secret_key.h"

namespace mptd::storage {

// Encrypts the tables in DIR/db with new data keys, file by file, each replaced whole: other names of the files keep
// what they had. For a folder that nobody has open, without a change log, and that is thrown away after an error. Does
// nothing to a folder that is encrypted. Errors are those of reading the key, and of the disk.
absl::Status EncryptFolder(const std::string& dir, const KeySource& source);

}  // namespace mptd::storage
