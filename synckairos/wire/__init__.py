"""External formats: parsing and rendering of every request, message, document and stored record. No I/O."""
