"""Images that come from a PACS: received by C-STORE, or fetched by DICOMweb, C-GET and C-MOVE."""
